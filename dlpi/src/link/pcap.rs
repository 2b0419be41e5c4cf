//! Capture files as a link: what a capture holds comes in, what is sent is captured.
//!
//! ```text
//!   in.pcap  ─► frames ─► the IP datagrams in them ─► up
//!   out.pcap ◄─ IP datagrams, link type RAW ◄───────── down
//! ```
//!
//! A point-to-point link of IP datagrams whatever the capture's link type (Ethernet, raw
//! IP, Linux cooked): frames that hold no IPv4 are passed over and counted. A capture cut
//! short ends where it is cut.
//!
//! Spec: the pcap and pcapng file formats; LINKTYPE_RAW 101.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};
use streams::Doorbell;

use super::{Link, Medium};

/// A capture file read, one written, or both.
pub struct Pcap {
    input: Option<Input>,
    output: Option<PcapWriter<BufWriter<File>>>,
    bell: Option<Doorbell>,
    /// Frames without an IPv4 datagram.
    pub passed_over: u64,
    stamp: Duration,
}

enum Input {
    Pcap(PcapReader<BufReader<File>>, DataLink),
    PcapNg(PcapNgReader<BufReader<File>>, Vec<DataLink>),
}

fn other(e: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e.to_string())
}

impl Pcap {
    /// Reads from `input`, writes to `output`, which is made anew.
    ///
    /// # Errors
    /// The host's; `InvalidData` for a file that is no capture.
    pub fn open(input: Option<&Path>, output: Option<&Path>) -> io::Result<Pcap> {
        let input = input.map(open_input).transpose()?;
        let output = match output {
            None => None,
            Some(p) => {
                let header = PcapHeader {
                    datalink: DataLink::RAW,
                    ..PcapHeader::default()
                };
                let file = BufWriter::new(File::create(p)?);
                Some(PcapWriter::with_header(file, header).map_err(other)?)
            }
        };
        Ok(Pcap {
            input,
            output,
            bell: None,
            passed_over: 0,
            stamp: Duration::ZERO,
        })
    }

    /// The next frame's bytes and link type; `None` at the end, whole or cut.
    fn next_frame(&mut self) -> Option<(Vec<u8>, DataLink)> {
        match self.input.as_mut()? {
            Input::Pcap(r, link) => {
                let p = r.next_packet()?.ok()?;
                self.stamp = p.timestamp;
                Some((p.data.into_owned(), *link))
            }
            Input::PcapNg(r, links) => loop {
                match r.next_block()?.ok()? {
                    Block::InterfaceDescription(i) => links.push(i.linktype),
                    Block::EnhancedPacket(p) => {
                        let link = links.get(p.interface_id as usize).copied()?;
                        self.stamp = p.timestamp;
                        return Some((p.data.into_owned(), link));
                    }
                    Block::SimplePacket(p) => return Some((p.data.into_owned(), *links.first()?)),
                    _ => {}
                }
            },
        }
    }
}

fn open_input(path: &Path) -> io::Result<Input> {
    let open = || File::open(path).map(BufReader::new);
    match PcapReader::new(open()?) {
        Ok(r) => {
            let link = r.header().datalink;
            Ok(Input::Pcap(r, link))
        }
        Err(_) => Ok(Input::PcapNg(
            PcapNgReader::new(open()?).map_err(other)?,
            Vec::new(),
        )),
    }
}

/// The IPv4 datagram in a frame.
fn datagram(frame: &[u8], link: DataLink) -> Option<&[u8]> {
    let typed = |at: usize| {
        let ty = frame.get(at..at + 2)?;
        let (ty, rest) = match ty {
            [0x81, 0x00] => (frame.get(at + 4..at + 6)?, frame.get(at + 6..)?), // 802.1Q
            t => (t, frame.get(at + 2..)?),
        };
        (ty == [0x08, 0x00]).then_some(rest)
    };
    let d = match link {
        DataLink::ETHERNET => typed(12)?,
        DataLink::LINUX_SLL => typed(14)?,
        DataLink::RAW | DataLink::IPV4 => frame,
        _ => return None,
    };
    (d.first()? >> 4 == 4).then_some(d)
}

impl Link for Pcap {
    fn medium(&self) -> Medium {
        Medium::PointToPoint
    }
    fn mtu(&self) -> u32 {
        65535
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let Some(out) = &mut self.output else {
            return Ok(());
        };
        let p = PcapPacket::new(self.stamp, frame.len() as u32, frame);
        out.write_packet(&p).map(|_| ()).map_err(other)
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let Some((frame, link)) = self.next_frame() else {
                self.input = None;
                return Ok(None);
            };
            match datagram(&frame, link) {
                Some(d) if d.len() <= buf.len() => {
                    buf[..d.len()].copy_from_slice(d);
                    return Ok(Some(d.len()));
                }
                _ => self.passed_over += 1,
            }
        }
    }
    fn attach(&mut self, bell: Doorbell) {
        if self.input.is_some() {
            bell.ring();
        }
        self.bell = Some(bell);
    }
}

impl Drop for Pcap {
    fn drop(&mut self) {
        if let Some(out) = self.output.take() {
            let _ = out.into_writer().flush(); // a drop can't report; the writer flushed what it could
        }
    }
}

//! A capture being written: pcap, or pcapng with one interface for each link.
//!
//! ```text
//!   Pcap link 0 ──┐
//!   Pcap link 1 ──┼──► CaptureFile (a clone each) ──► file     one reader: wireshark
//!   snoop ────────┘
//! ```
//!
//! A frame is in the file when `flush` has returned or the last clone is gone.
//!
//! Spec: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
//! Kept: nanoseconds in both formats; lengths as sent.
//! Not done: comments, statistics blocks, a ring of files.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

/// Longest frame in a capture.
const SNAPLEN: u32 = 262_144;

/// The format of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The classic one: all frames of one link type.
    Pcap,
    /// Interfaces with a type each.
    PcapNg,
}

impl Format {
    /// `.pcapng` and `.ntar` are pcapng, all else is pcap.
    pub fn of(path: &Path) -> Format {
        match path.extension().and_then(|e| e.to_str()) {
            Some("pcapng" | "ntar") => Format::PcapNg,
            _ => Format::Pcap,
        }
    }
}

/// What the frames of an interface begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkType {
    /// An Ethernet header.
    Ethernet,
    /// An IP header.
    Ip,
}

impl LinkType {
    fn number(self) -> DataLink {
        match self {
            LinkType::Ethernet => DataLink::ETHERNET,
            LinkType::Ip => DataLink::RAW,
        }
    }
}

/// Which clock stamps the frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stamp {
    /// The host's: time of day.
    #[default]
    Wall,
    /// The kernel's, from 1970 on: the same in every run with a manual clock.
    Kernel,
}

/// A capture being written. Clones write the same one.
#[derive(Clone)]
pub struct CaptureFile(Arc<Mutex<Inner>>);

/// Where the bytes go: kept beside the writer, which doesn't give it back.
#[derive(Clone)]
struct Out(Arc<Mutex<BufWriter<Box<dyn Write + Send>>>>);

impl Write for Out {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        self.0.lock().write(b)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}

struct Inner {
    out: Out,
    kind: Kind,
}

enum Kind {
    /// No interface yet, so no header.
    Fresh(Format),
    Pcap(LinkType, PcapWriter<Out>),
    Ng(PcapNgWriter<Out>),
}

fn io_error(e: PcapError) -> io::Error {
    match e {
        PcapError::IoError(e) => e,
        e => io::Error::new(io::ErrorKind::InvalidData, e.to_string()),
    }
}

impl CaptureFile {
    /// Creates a file, its format by its extension. Replaces one that is there.
    ///
    /// # Errors
    /// The host's.
    pub fn create(path: &Path) -> io::Result<CaptureFile> {
        Ok(CaptureFile::to(File::create(path)?, Format::of(path)))
    }

    /// Writes to anything.
    pub fn to(out: impl Write + Send + 'static, format: Format) -> CaptureFile {
        let out = Out(Arc::new(Mutex::new(BufWriter::with_capacity(
            1 << 16,
            Box::new(out),
        ))));
        let kind = Kind::Fresh(format);
        CaptureFile(Arc::new(Mutex::new(Inner { out, kind })))
    }

    /// An interface for frames to come from. A pcap file takes several of one type only.
    ///
    /// # Errors
    /// InvalidInput: of another type. The host's.
    pub fn interface(&self, name: &str, ty: LinkType) -> io::Result<u32> {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        if let Kind::Fresh(format) = inner.kind {
            let out = inner.out.clone();
            inner.kind = match format {
                Format::Pcap => {
                    let header = PcapHeader {
                        snaplen: SNAPLEN,
                        datalink: ty.number(),
                        ts_resolution: TsResolution::NanoSecond,
                        endianness: Endianness::native(),
                        ..PcapHeader::default()
                    };
                    Kind::Pcap(ty, PcapWriter::with_header(out, header).map_err(io_error)?)
                }
                Format::PcapNg => Kind::Ng(PcapNgWriter::new(out).map_err(io_error)?),
            };
        }
        match &mut inner.kind {
            Kind::Ng(w) => {
                let block = InterfaceDescriptionBlock {
                    linktype: ty.number(),
                    snaplen: SNAPLEN,
                    options: vec![
                        InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
                        InterfaceDescriptionOption::IfTsResol(9), // nanoseconds
                    ],
                };
                w.write_pcapng_block(block).map_err(io_error)?;
                Ok(w.interfaces().len() as u32 - 1)
            }
            Kind::Pcap(have, _) if *have == ty => Ok(0),
            _ => {
                let why = "a pcap file holds frames of one link type; use .pcapng";
                Err(io::Error::new(io::ErrorKind::InvalidInput, why))
            }
        }
    }

    /// Adds a frame that passed at a time since 1970.
    ///
    /// # Errors
    /// The host's; InvalidInput if there is no such interface.
    pub fn write(&self, interface: u32, at: Duration, frame: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock();
        let len = frame.len() as u32;
        match &mut inner.kind {
            Kind::Pcap(_, w) => {
                w.write_packet(&PcapPacket::new(at, len, frame))
                    .map_err(io_error)?;
            }
            Kind::Ng(w) => {
                let block = EnhancedPacketBlock {
                    interface_id: interface,
                    timestamp: at, // written in units of a nanosecond, as the interface says
                    original_len: len,
                    data: Cow::Borrowed(frame),
                    options: Vec::new(),
                };
                w.write_pcapng_block(block).map_err(io_error)?;
            }
            Kind::Fresh(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
        Ok(())
    }

    /// Does anybody else hold it?
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Brings everything written so far into the file.
    ///
    /// # Errors
    /// The host's: the disk is full.
    pub fn flush(&self) -> io::Result<()> {
        self.0.lock().out.flush()
    }
}

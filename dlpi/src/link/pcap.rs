//! A capture as a link: its frames arrive, what is sent is written to another capture.
//!
//! ```text
//!   in.pcap ──► step by step │ as fast as possible │ at recorded speed ──► recv
//!   out.pcapng ◄── send
//! ```
//!
//! As a rule the link shows IP packets (point to point), whatever the capture's link
//! type: Ethernet, raw IP, Linux cooked, BSD loopback. With an address given it is an
//! Ethernet and shows the frames as they are. Nothing is read before a stream is bound,
//! and only what the streams have room for, so that replay loses nothing.
//!
//! Spec: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, the link-layer types registry.
//! Kept: the speed may be changed on the way; time stamps of any resolution; sections of either byte order; captures with a
//! snap length; several interfaces.
//! Differs: a damaged or cut capture ends at the damage; what was before it is replayed.
//! Not done: compressed captures, packets that the capture itself has cut are not mended.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use streams::Doorbell;

use super::capture::{CaptureFile, LinkType, Stamp};
use super::{Link, Medium, copy_cut};
use crate::addr::{ETHER_HDR, Mac, sap_of_packet};

/// When the frames of a capture arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Speed {
    /// As many as [`PcapControl::step`] lets go.
    Step,
    /// As fast as they are taken.
    #[default]
    Fast,
    /// With the pauses they were recorded with.
    Recorded,
}

/// How a capture is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcapOptions {
    /// When the frames arrive.
    pub speed: Speed,
    /// Its control may change that to [`Speed::Recorded`] later.
    pub paced: bool,
    /// An Ethernet with this address instead of a point-to-point link of IP packets.
    pub ethernet: Option<Mac>,
    /// The MTU it claims.
    pub mtu: u32,
    /// Whose time is in the output.
    pub stamp: Stamp,
    /// The interface's name in the output.
    pub name: String,
}

impl Default for PcapOptions {
    fn default() -> PcapOptions {
        PcapOptions {
            speed: Speed::Fast,
            paced: false,
            ethernet: None,
            mtu: 65535,
            stamp: Stamp::Wall,
            name: "pcap".to_owned(),
        }
    }
}

/// Steers a [`Pcap`] from outside and tells how far it is. Clones steer the same one.
#[derive(Clone, Default)]
pub struct PcapControl(Arc<Steering>);

#[derive(Default)]
struct Steering {
    /// Frames that may go; `u64::MAX` for all.
    credits: AtomicU64,
    /// They go with the pauses they were recorded with.
    recorded: AtomicBool,
    /// The pauses count from the next frame on.
    restarted: AtomicBool,
    /// When the next frame is due, in nanoseconds of the kernel's time; 0 for none.
    due: AtomicU64,
    read: AtomicU64,
    skipped: AtomicU64,
    ended: AtomicBool,
    bell: Mutex<Option<Doorbell>>,
    damage: Mutex<Option<String>>,
}

impl PcapControl {
    /// Lets `n` more frames go.
    pub fn step(&self, n: u64) {
        let add = |c: u64| Some(c.saturating_add(n));
        let _ = self
            .0
            .credits
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        self.ring();
    }
    /// Lets all go.
    pub fn run(&self) {
        self.step(u64::MAX);
    }
    /// Lets all go, as fast as they are taken or with the pauses between them from now on,
    /// if the link is paced.
    pub fn run_at(&self, speed: Speed) {
        let recorded = speed == Speed::Recorded;
        self.0.recorded.store(recorded, Ordering::Relaxed);
        self.0.restarted.store(true, Ordering::Relaxed);
        match speed {
            Speed::Step => self.pause(),
            Speed::Fast | Speed::Recorded => self.run(),
        }
    }
    /// When the next frame is due, at recorded speed: the kernel's time.
    pub fn due(&self) -> Option<Duration> {
        let due = self.0.due.load(Ordering::Relaxed);
        (due != 0).then(|| Duration::from_nanos(due))
    }
    /// Lets none go until the next `step` or `run`.
    pub fn pause(&self) {
        self.0.credits.store(0, Ordering::Relaxed);
    }
    /// Frames that have arrived.
    pub fn read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }
    /// Frames left out because they hold no IP packet.
    pub fn skipped(&self) -> u64 {
        self.0.skipped.load(Ordering::Relaxed)
    }
    /// All frames have arrived.
    pub fn ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }
    /// Why the capture ended before its end: cut short, damaged.
    pub fn damage(&self) -> Option<String> {
        self.0.damage.lock().clone()
    }
    fn ring(&self) {
        if let Some(b) = &*self.0.bell.lock() {
            b.ring();
        }
    }
}

type Input = Box<dyn Read + Send>;

/// A capture being read.
enum Source {
    Pcap(PcapReader<Input>),
    Ng(Box<PcapNgReader<Input>>, Vec<Interface>),
}

/// An interface of a pcapng section.
#[derive(Clone, Copy)]
struct Interface {
    link: DataLink,
    /// Units of a time stamp in a second.
    per_second: u64,
    snaplen: usize,
}

/// What ends the reading.
enum End {
    Clean,
    Damaged(String),
}

impl From<PcapError> for End {
    fn from(e: PcapError) -> End {
        match e {
            PcapError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                End::Damaged("cut short in the middle of a frame".to_owned())
            }
            PcapError::IoError(e) => End::Damaged(e.to_string()),
            e => End::Damaged(e.to_string()),
        }
    }
}

impl Source {
    fn open(mut input: Input) -> io::Result<Source> {
        let mut magic = [0; 4];
        input.read_exact(&mut magic)?;
        let input: Input = Box::new(Cursor::new(magic).chain(input));
        let bad = |e: PcapError| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
        if magic == [0x0a, 0x0d, 0x0d, 0x0a] {
            let r = PcapNgReader::new(input).map_err(bad)?;
            return Ok(Source::Ng(Box::new(r), Vec::new()));
        }
        PcapReader::new(input).map(Source::Pcap).map_err(bad)
    }

    /// The next frame into `frame`: when it passed, and what it begins with.
    fn next(&mut self, frame: &mut Vec<u8>) -> Result<(Duration, DataLink), End> {
        frame.clear();
        match self {
            Source::Pcap(r) => {
                let h = r.header();
                // The raw form: the other refuses what a snap length has cut.
                let p = r.next_raw_packet().ok_or(End::Clean)??;
                frame.extend_from_slice(&p.data);
                let nanos = match h.ts_resolution {
                    TsResolution::MicroSecond => u64::from(p.ts_frac) * 1000,
                    TsResolution::NanoSecond => u64::from(p.ts_frac),
                };
                let at = Duration::from_secs(p.ts_sec.into()) + Duration::from_nanos(nanos);
                // The upper bits tell of a frame check sequence.
                Ok((at, DataLink::from(u32::from(h.datalink) & 0xffff)))
            }
            Source::Ng(r, interfaces) => loop {
                let endian = r.section().endianness;
                let block = r.next_raw_block().ok_or(End::Clean)??;
                match block.type_ {
                    0x0a0d_0d0a => interfaces.clear(),
                    1 => {
                        drop(block);
                        interfaces.extend(r.interfaces().last().map(interface));
                    }
                    2 | 3 | 6 => {
                        if let Some(got) =
                            packet(block.type_, &block.body, endian, interfaces, frame)
                        {
                            return Ok(got);
                        }
                    }
                    _ => {}
                }
            },
        }
    }
}

/// What an interface description says that a frame needs.
fn interface(
    b: &pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock<'_>,
) -> Interface {
    let resolution = b.options.iter().find_map(|o| match o {
        InterfaceDescriptionOption::IfTsResol(r) => Some(*r),
        _ => None,
    });
    // if_tsresol: a negative power of ten, or of two with the top bit; default 10^-6.
    let per_second = match resolution.unwrap_or(6) {
        r if r & 0x80 != 0 => 1u64.checked_shl(u32::from(r & 0x7f)),
        r => 10u64.checked_pow(r.into()),
    };
    let snaplen = if b.snaplen == 0 {
        usize::MAX
    } else {
        b.snaplen as usize
    };
    Interface {
        link: b.linktype,
        per_second: per_second.unwrap_or(1_000_000).max(1),
        snaplen,
    }
}

/// The packet in an enhanced (6), simple (3) or obsolete (2) packet block; `None` if its
/// lengths or its interface make no sense.
fn packet(
    ty: u32,
    body: &[u8],
    endian: Endianness,
    interfaces: &[Interface],
    frame: &mut Vec<u8>,
) -> Option<(Duration, DataLink)> {
    let word = |at: usize| -> Option<u32> {
        let b = *body.get(at..)?.first_chunk::<4>()?;
        Some(if endian.is_big() {
            u32::from_be_bytes(b)
        } else {
            u32::from_le_bytes(b)
        })
    };
    if ty == 3 {
        let i = interfaces.first()?;
        let n = (word(0)? as usize).min(i.snaplen);
        frame.extend_from_slice(body.get(4..)?.get(..n)?);
        return Some((Duration::ZERO, i.link));
    }
    let id = match (ty, endian.is_big()) {
        (6, _) => word(0)?,
        (_, true) => word(0)? >> 16, // a 16-bit number, then the drops
        (_, false) => word(0)? & 0xffff,
    };
    let i = interfaces.get(id as usize)?;
    let units = u64::from(word(4)?) << 32 | u64::from(word(8)?);
    frame.extend_from_slice(body.get(20..)?.get(..word(12)? as usize)?);
    let rest = u128::from(units % i.per_second) * 1_000_000_000 / u128::from(i.per_second);
    Some((
        Duration::from_secs(units / i.per_second) + Duration::from_nanos(rest as u64),
        i.link,
    ))
}

/// The IP packet in a frame of some link type.
fn ip_packet(link: DataLink, frame: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        frame
            .get(at..)?
            .first_chunk::<2>()
            .map(|b| u16::from_be_bytes(*b))
    };
    let packet = match link {
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => frame,
        DataLink::ETHERNET => {
            let mut at = ETHER_HDR;
            while matches!(word(at - 2)?, 0x8100 | 0x88a8) {
                at += 4; // a VLAN tag
            }
            if !matches!(word(at - 2)?, 0x0800 | 0x86dd) {
                return None;
            }
            frame.get(at..)?
        }
        DataLink::LINUX_SLL => matches!(word(14)?, 0x0800 | 0x86dd).then(|| &frame[16..])?,
        DataLink::LINUX_SLL2 => matches!(word(0)?, 0x0800 | 0x86dd).then(|| frame.get(20..))??,
        DataLink::NULL | DataLink::LOOP => frame.get(4..)?,
        _ => return None,
    };
    sap_of_packet(packet)?;
    Some(packet)
}

/// A frame read ahead, waiting for its time.
struct Held {
    at: Duration,
    link: DataLink,
}

/// The link.
pub struct Pcap {
    options: PcapOptions,
    source: Option<Source>,
    held: Option<Held>,
    frame: Vec<u8>,
    /// The first frame's stamp, and when it arrived.
    base: Option<(Duration, Duration)>,
    now: Duration,
    output: Option<(CaptureFile, u32)>,
    unflushed: bool,
    control: PcapControl,
}

impl Pcap {
    /// Reads one capture, writes another; either may be missing. As fast as it is taken.
    ///
    /// # Errors
    /// The host's, InvalidData: no capture.
    pub fn open(input: Option<&Path>, output: Option<&Path>) -> io::Result<Pcap> {
        Pcap::with(input, output, PcapOptions::default())
    }

    /// The same as the options say.
    ///
    /// # Errors
    /// As [`Pcap::open`].
    pub fn with(
        input: Option<&Path>,
        output: Option<&Path>,
        options: PcapOptions,
    ) -> io::Result<Pcap> {
        let input: Option<Input> = match input {
            Some(p) => Some(Box::new(File::open(p)?)),
            None => None,
        };
        let output = output.map(CaptureFile::create).transpose()?;
        Pcap::new(input, output, options)
    }

    /// The same from anything that can be read, to a capture that others may write too.
    ///
    /// # Errors
    /// As [`Pcap::open`].
    pub fn new(
        input: Option<Box<dyn Read + Send>>,
        output: Option<CaptureFile>,
        options: PcapOptions,
    ) -> io::Result<Pcap> {
        let source = input.map(Source::open).transpose()?;
        let ty = if options.ethernet.is_some() {
            LinkType::Ethernet
        } else {
            LinkType::Ip
        };
        let output = match output {
            Some(o) => {
                let id = o.interface(&options.name, ty)?;
                Some((o, id))
            }
            None => None,
        };
        let control = PcapControl::default();
        if options.speed != Speed::Step {
            control.run_at(options.speed);
        }
        if source.is_none() {
            control.0.ended.store(true, Ordering::Relaxed);
        }
        Ok(Pcap {
            options,
            source,
            held: None,
            frame: Vec::new(),
            base: None,
            now: Duration::ZERO,
            output,
            unflushed: false,
            control,
        })
    }

    /// What steers it.
    pub fn control(&self) -> PcapControl {
        self.control.clone()
    }

    /// Reads ahead until a frame is held that this link can show, or the end.
    fn read_ahead(&mut self) {
        while self.held.is_none()
            && let Some(source) = &mut self.source
        {
            match source.next(&mut self.frame) {
                Ok((at, link)) => {
                    let shown = match self.options.ethernet {
                        Some(_) => link == DataLink::ETHERNET && self.frame.len() >= ETHER_HDR,
                        None => ip_packet(link, &self.frame).is_some(),
                    };
                    if shown {
                        self.base.get_or_insert((at, self.now));
                        self.held = Some(Held { at, link });
                    } else {
                        self.control.0.skipped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(end) => {
                    self.source = None;
                    self.control.0.ended.store(true, Ordering::Relaxed);
                    if let End::Damaged(why) = end {
                        *self.control.0.damage.lock() = Some(why);
                    }
                }
            }
        }
    }

    /// When the held frame is due.
    fn due(&self) -> Option<Duration> {
        let held = self.held.as_ref()?;
        let (first, started) = self.base?;
        // A stamp before the first one's: at once.
        Some(match self.control.0.recorded.load(Ordering::Relaxed) {
            true => started.saturating_add(held.at.saturating_sub(first)),
            false => Duration::ZERO,
        })
    }

    fn stamp(&self) -> Duration {
        match self.options.stamp {
            Stamp::Kernel => self.now,
            Stamp::Wall => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }
}

impl Link for Pcap {
    fn medium(&self) -> Medium {
        self.options
            .ethernet
            .map_or(Medium::PointToPoint, Medium::Ether)
    }
    fn mtu(&self) -> u32 {
        self.options.mtu
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        if let Some((out, id)) = &self.output {
            out.write(*id, self.stamp(), frame)?;
            self.unflushed = true;
        }
        Ok(())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        if self.control.0.credits.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        if self.control.0.restarted.swap(false, Ordering::Relaxed) {
            self.base = self.held.as_ref().map(|h| (h.at, self.now));
        }
        self.read_ahead();
        if self.due().is_none_or(|at| at > self.now) {
            return Ok(None);
        }
        let Some(held) = self.held.take() else {
            return Ok(None);
        };
        let take = |c: u64| (c != u64::MAX).then(|| c.saturating_sub(1));
        let _ = self
            .control
            .0
            .credits
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        self.control.0.read.fetch_add(1, Ordering::Relaxed);
        let shown = match self.options.ethernet {
            Some(_) => &self.frame[..],
            None => ip_packet(held.link, &self.frame).unwrap_or_default(),
        };
        let n = copy_cut(shown, buf);
        self.read_ahead(); // so that `ended` is known with the last frame
        Ok(Some(n))
    }
    fn attach(&mut self, bell: Doorbell) {
        *self.control.0.bell.lock() = Some(bell);
    }
    fn timed(&self) -> bool {
        let o = &self.options;
        o.speed == Speed::Recorded || o.paced || o.stamp == Stamp::Kernel
    }
    fn tick(&mut self, now: Duration) -> Option<Duration> {
        self.now = now;
        let steering = &self.control.0;
        let going = steering.credits.load(Ordering::Relaxed) > 0;
        let recorded = steering.recorded.load(Ordering::Relaxed);
        let due = self.due().filter(|_| going && recorded);
        let nanos = due.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
        steering.due.store(nanos, Ordering::Relaxed);
        due
    }
    fn patient(&self) -> bool {
        true
    }
    fn set_address(&mut self, mac: &Mac) -> io::Result<()> {
        self.options.ethernet = Some(*mac);
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unflushed)
            && let Some((out, _)) = &self.output
        {
            out.flush()?;
        }
        Ok(())
    }
}

impl Drop for Pcap {
    fn drop(&mut self) {
        let _ = self.flush(); // nobody is left to hear of it
    }
}

#[cfg(test)]
mod tests;

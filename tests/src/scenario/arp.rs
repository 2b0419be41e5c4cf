//! ARP in a case: packets that arrive, packets that have left.
//!
//! ```text
//!   %arpin  hme0 op=1 [sha=8:0:20:0:0:9] spa=A tpa=B      from the neighbour, if sha is not said
//!   %arpout hme0 -> op=1 sha=M spa=A tha=M tpa=B to=broadcast|M | nothing    the next one
//!   %hush   hme0                       who is asked for on this link says nothing any more
//!   %arp    SIOCSARP A [sha=M] [flags=N]    SIOCDARP A    SIOCGARP A -> sha=M flags=N
//! ```
//!
//! Every case starts with the announcements of what `%net` has brought up: `%forget` drops
//! them.

use std::net::Ipv4Addr;

use ipmod::{ioctl, tpi};
use streams::{Process, Sys};

use super::datagram::Fields;
use super::ip::{ETHER, OURS, THEIRS, Wires, addr, word};
use super::text::Tok;
use super::{Outcome, Wrong};

const FIXED: [u8; 6] = [0, 1, 8, 0, 6, 4];

fn mac(text: &str) -> Option<[u8; 6]> {
    let parts: Vec<u8> = text
        .split(':')
        .map(|p| u8::from_str_radix(p, 16).ok())
        .collect::<Option<_>>()?;
    parts.try_into().ok()
}

/// `%arp`: an ioctl(2) whose argument is an arpreq, as I_STR.
pub fn ioctl(p: &Process, fd: i32, args: &[Tok]) -> Result<Outcome, Wrong> {
    let cmd = match word(args, 0)?.as_str() {
        "SIOCSARP" => ioctl::SIOCSARP,
        "SIOCGARP" => ioctl::SIOCGARP,
        "SIOCDARP" => ioctl::SIOCDARP,
        w => return Err(format!("{w} has no arpreq")),
    };
    let who: Ipv4Addr = addr(&word(args, 1)?)?;
    let f = Fields(args);
    let sha = f.word("sha").map_or(Some([0; 6]), |w| mac(&w));
    let mut b = vec![0; ioctl::ARPREQ];
    b[..16].copy_from_slice(&tpi::sockaddr_bytes(0, who.into()));
    b[18..24].copy_from_slice(&sha.ok_or("sha=MAC")?);
    let flags = f.num("flags")?.unwrap_or(0) as u32;
    b[32..].copy_from_slice(&flags.to_ne_bytes());
    Ok(p.i_str(fd, cmd, &b).map(|r| {
        let Some(b) = r.data.first_chunk::<36>() else {
            return vec![Tok::word("nothing")];
        };
        let flags = u32::from_ne_bytes([b[32], b[33], b[34], b[35]]);
        vec![
            Tok::key("sha", Tok::word(ipmod::resolve::mac_text(&b[18..24]))),
            Tok::key("flags", Tok::Num(flags.into())),
        ]
    }))
}

/// `%arpin`
pub fn arrive(wires: &Wires, args: &[Tok]) -> Result<Outcome, Wrong> {
    let (name, rest) = args.split_first().ok_or("%arpin INTERFACE op=1 ..")?;
    let f = Fields(rest);
    let any = Ipv4Addr::UNSPECIFIED;
    let (spa, tpa) = (f.addr("spa")?.unwrap_or(any), f.addr("tpa")?.unwrap_or(any));
    let op = f.num("op")?.unwrap_or(1) as u16;
    let sha = match f.word("sha") {
        Some(w) => mac(&w).ok_or_else(|| format!("sha={w}?"))?,
        None => THEIRS,
    };
    let to = if op == 1 { [0xff; 6] } else { OURS };
    let mut frame = [&to[..], &sha, &[8, 6], &FIXED].concat();
    frame.extend(op.to_be_bytes());
    frame.extend(sha);
    frame.extend(spa.octets());
    frame.extend([0; 6]);
    frame.extend(tpa.octets());
    frame.resize(60, 0);
    wires.frame(name, frame)?;
    Ok(Ok(Vec::new()))
}

/// `%arpout`
pub fn left(wires: &Wires, name: &Tok) -> Result<Outcome, Wrong> {
    let Some(frame) = wires.arp_left(name)? else {
        return Ok(Ok(vec![Tok::word("nothing")]));
    };
    let Some(b) = frame.get(ETHER..ETHER + 28).filter(|b| b[..6] == FIXED) else {
        return Err(format!("ARP that is none: {frame:02x?}"));
    };
    let text = |m: &[u8]| ipmod::resolve::mac_text(m);
    let to = match &frame[..6] {
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => "broadcast".to_owned(),
        m => text(m),
    };
    let addr = |b: &[u8]| Tok::word(Ipv4Addr::new(b[0], b[1], b[2], b[3]).to_string());
    Ok(Ok(vec![
        Tok::key("op", Tok::Num(b[7].into())),
        Tok::key("sha", Tok::word(text(&b[8..14]))),
        Tok::key("spa", addr(&b[14..])),
        Tok::key("tha", Tok::word(text(&b[18..24]))),
        Tok::key("tpa", addr(&b[24..])),
        Tok::key("to", Tok::word(to)),
    ]))
}

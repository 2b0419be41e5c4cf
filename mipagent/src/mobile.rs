//! The mobile node: listens for agents, goes where it has to, registers.
//!
//! ```text
//!   advertisements ─► detect.rs ─► place ─► roaming.rs: IP is configured for it
//!                                    └─► Request ──1 s, 2 s, 4 s ..──► Reply
//!                                          ▲                            │ 0, 1: until the
//!                                          ├──── 69: shorter            │ lifetime's last part
//!                                          ├──── 133: our clock is set  │
//!                                          ├──── 136: that home agent   │
//!                                          └──── other codes: later ◄───┘
//! ```
//!
//! Spec: RFC 5944 3.6 (mobile node: requests, replies, retransmission), 2.4 (solicitations,
//! moves), 3.6.1.1 (addresses of a request), 3.6.2 (replies), 5.7.
//! Kept: requests are repeated after 1, 2, 4 .. up to 60 s, each with a new Identification;
//! nothing is sent at home that was not away.
//! Differs: a registration is renewed when a tenth of its lifetime, and at least 3 s, is
//! left.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::addr::Mac;
use streams::{Errno, Sys};

use crate::PORT;
use crate::advert::{Advertisement, masked, solicitation};
use crate::code;
use crate::conf::Mobile;
use crate::detect::{Choice, Detector};
use crate::extension::{MOBILE_FOREIGN, MOBILE_HOME};
use crate::identification::Author;
use crate::link::{ALL_ROUTERS, ALL_SYSTEMS, Link, What};
use crate::message::{B, D, Key, Proof, REPLY_LEN, Reply, Request};
use crate::port::{Came, Port};
use crate::roaming::{At, Roaming};
use crate::status::Log;

/// The longest pause between two requests or solicitations (2.4: one minute).
const LONGEST: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_secs(1);

/// Where a mobile node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody has been heard, or not any more.
    Unknown,
    /// At home.
    Home,
    /// With a foreign agent, and its care-of address.
    Foreign(Ipv4Addr, Ipv4Addr),
    /// With an address of its own.
    Own(Ipv4Addr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Unknown => f.write_str("unknown"),
            Place::Home => f.write_str("home"),
            Place::Foreign(agent, _) => write!(f, "foreign agent {agent}"),
            Place::Own(_) => f.write_str("own care-of address"),
        }
    }
}

/// A request that is to be answered.
#[derive(Clone, Debug)]
struct Asked {
    request: Request,
    /// Where it goes.
    to: Ipv4Addr,
    sent: Duration,
    pause: Duration,
    /// Sent how often; those after a refusal that could be mended begin anew.
    tries: u32,
}

/// A registration that holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    care_of: Ipv4Addr,
    until: Option<Duration>,
    renew: Option<Duration>,
}

/// A mobile node in one emulated system.
pub struct MobileNode<'a> {
    conf: Mobile,
    link: Link<'a>,
    port: Port<'a>,
    roaming: Roaming<'a>,
    detector: Detector,
    author: Author,
    agent: Ipv4Addr,
    place: Place,
    /// The agent that the request goes to; the home agent's address otherwise.
    by: Option<(Ipv4Addr, Mac)>,
    most: u16,
    offers: u8,
    asked: Option<Asked>,
    held: Option<Held>,
    /// A binding may exist: one has been asked for since it was last at home.
    away: bool,
    /// When to ask again after a refusal.
    again: Option<Duration>,
    solicit: Option<(Duration, Duration)>,
    solicited: u32,
    last_code: Option<u8>,
    handovers: u64,
    /// Replies that were not authentic, or to nothing that was asked.
    pub discarded: BTreeMap<&'static str, u64>,
}

impl<'a> MobileNode<'a> {
    /// Takes a host over: its interface is plumbed, vtunl is loaded, nothing else. It takes
    /// itself to be at home until it hears otherwise.
    ///
    /// # Errors
    /// EADDRINUSE: another program has port 434; those of opening the link and of ioctls.
    pub fn new(sys: &'a dyn Sys, conf: Mobile, now: Duration) -> Result<MobileNode<'a>, Errno> {
        let mut roaming = Roaming::new(sys, &conf)?;
        roaming.go(At::Home)?;
        if !conf.agent.is_unspecified() {
            roaming.trust(conf.agent)?;
        }
        Ok(MobileNode {
            link: Link::open(sys, &conf.interface, &[ALL_SYSTEMS])?,
            port: Port::open(sys)?,
            roaming,
            detector: Detector::default(),
            author: Author::new(conf.replay),
            agent: conf.agent,
            place: Place::Unknown,
            by: None,
            most: u16::MAX,
            offers: 0,
            asked: None,
            held: None,
            away: false,
            again: None,
            solicit: Some((now, FIRST)),
            solicited: 0,
            last_code: None,
            handovers: 0,
            discarded: BTreeMap::new(),
            conf,
        })
    }

    /// Its home address.
    pub fn home(&self) -> Ipv4Addr {
        self.conf.home
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The care-of address that it has registered.
    pub fn care_of(&self) -> Option<Ipv4Addr> {
        self.held.map(|h| h.care_of)
    }

    /// Is all said and answered: registered away, or not registered at home?
    pub fn is_settled(&self) -> bool {
        let right = match self.place {
            Place::Unknown => false,
            Place::Home => self.held.is_none(),
            Place::Foreign(_, c) | Place::Own(c) => self.held.is_some_and(|h| h.care_of == c),
        };
        right && self.asked.is_none()
    }

    /// What it is doing.
    pub fn state_text(&self) -> &'static str {
        match (&self.asked, self.held, self.again) {
            (Some(_), _, _) => "registering",
            (None, Some(_), _) => "registered",
            (None, None, Some(_)) => "refused",
            (None, None, None) if self.place == Place::Home => "at home",
            (None, None, None) => "looking for agents",
        }
    }

    /// Seconds that the registration has left.
    pub fn left(&self, now: Duration) -> Option<u64> {
        let until = self.held?.until?;
        Some(until.saturating_sub(now).as_millis().div_ceil(1000) as u64)
    }

    /// The code of the last reply.
    pub fn last_code(&self) -> Option<u8> {
        self.last_code
    }

    /// How often it has registered a new care-of address.
    pub fn handovers(&self) -> u64 {
        self.handovers
    }

    /// The descriptors that something may come on.
    pub fn fds(&self) -> [i32; 2] {
        [self.link.fd(), self.port.fd()]
    }

    /// Hears and does all there is; true if anything was. `now` is the time of day, as
    /// for [`crate::home::HomeAgent::answer`], and never goes back.
    ///
    /// # Errors
    /// Those of system calls: the host is not usable.
    pub fn poll(&mut self, now: Duration, log: &mut Log) -> Result<bool, Errno> {
        let mut any = false;
        while let Some(heard) = self.link.hear()? {
            any = true;
            let What::Discovery(icmp) = &heard.what else {
                continue; // IP has it too, and gives it to the port
            };
            let Some(ad) = Advertisement::parse(icmp) else {
                continue;
            };
            if self.detector.heard(heard.src, heard.mac, ad, now) {
                log.add(
                    "mobile",
                    self.conf.home,
                    format!("{} was restarted", heard.src),
                );
                self.held = None;
                self.asked = None;
                self.place = Place::Unknown; // so that it registers again
            }
        }
        while let Some(came) = self.port.receive()? {
            any = true;
            if let Came::Message(_, _, data) = came {
                self.reply(&data, now, log)?;
            }
        }
        any |= self.look(now, log)?;
        any |= self.timers(now, log)?;
        Ok(any)
    }

    /// When there is something to do though nothing comes.
    pub fn next(&self) -> Option<Duration> {
        let asked = self.asked.as_ref().map(|a| a.sent + a.pause);
        let held = self.held.and_then(|h| h.renew);
        let solicit = self.solicit.map(|s| s.0);
        let all = [asked, held, self.again, solicit, self.detector.next()];
        all.into_iter().flatten().min()
    }

    /// Is it where it should be?
    fn look(&mut self, now: Duration, log: &mut Log) -> Result<bool, Errno> {
        let net = (self.conf.home, self.conf.prefix);
        let choice = self
            .detector
            .choose(self.agent, net, &self.conf.care_of, now);
        let (place, at, by, most, offers) = match choice.clone() {
            Choice::Nowhere => {
                if self.solicit.is_none() {
                    log.add("mobile", self.conf.home, "no agent is heard");
                    (self.solicit, self.solicited) = (Some((now, FIRST)), 0);
                    self.place = Place::Unknown;
                    return Ok(true);
                }
                return Ok(false);
            }
            Choice::Home(_) => (Place::Home, At::Home, None, u16::MAX, 0),
            Choice::Visit {
                agent,
                mac,
                care_of,
                lifetime,
                flags,
            } => {
                let place = Place::Foreign(agent, care_of);
                let at = At::Visiting(agent, mac);
                (place, at, Some((agent, mac)), lifetime, flags)
            }
            Choice::Own(c, by) => (Place::Own(c.addr), At::Own(c), by, u16::MAX, u8::MAX),
        };
        self.solicit = None;
        if place == self.place {
            if by != self.by {
                // The same agent, with another link address.
                self.roaming.go(at)?;
                self.by = by;
            }
            return Ok(false);
        }
        log.add("mobile", self.conf.home, format!("is at: {place}"));
        self.roaming.go(at)?;
        if let Choice::Home(agent) = choice
            && self.agent.is_unspecified()
        {
            // Found by its advertisement, so it need not be asked for.
            self.agent = agent;
            self.roaming.trust(agent)?;
        }
        (self.place, self.by, self.most, self.offers) = (place, by, most, offers);
        self.again = None;
        self.register(now)?;
        Ok(true)
    }

    /// 3.6.1: a request for where we are. At home one only if we were away.
    fn register(&mut self, now: Duration) -> Result<(), Errno> {
        let (care_of, mut flags) = match self.place {
            Place::Unknown => return Ok(()),
            Place::Home if !self.away => {
                self.asked = None;
                return Ok(());
            }
            Place::Home => (self.conf.home, 0),
            Place::Foreign(_, c) => (c, self.conf.flags),
            Place::Own(c) => (c, self.conf.flags | D),
        };
        // 3.6.1.1: what the agent does not offer is not asked for.
        if matches!(self.place, Place::Foreign(..)) {
            use crate::advert::flag;
            let offered = |bit, flag| if self.offers & flag == 0 { bit } else { 0 };
            use crate::message::{G, M, T};
            flags &= !(offered(M, flag::M) | offered(G, flag::G) | offered(T, flag::T));
        }
        let lifetime = match self.place {
            Place::Home => 0,
            _ => self.conf.lifetime.min(self.most),
        };
        // 3.6.1.2: who does not know its agent asks all of its home network.
        let net = masked(self.conf.home, self.conf.prefix).to_bits();
        let all =
            Ipv4Addr::from_bits(net | u32::MAX.checked_shr(self.conf.prefix.into()).unwrap_or(0));
        let agent = if self.agent.is_unspecified() {
            all
        } else {
            self.agent
        };
        let request = Request {
            flags,
            lifetime,
            home: self.conf.home,
            agent,
            care_of,
            id: 0,
        };
        let to = self.by.map_or(agent, |b| b.0);
        self.away |= lifetime > 0;
        self.asked = Some(Asked {
            request,
            to,
            sent: now,
            pause: FIRST,
            tries: 0,
        });
        self.send(now)
    }

    /// Sends the request, each time with a new Identification (3.6.3).
    fn send(&mut self, now: Duration) -> Result<(), Errno> {
        let Some(a) = &mut self.asked else {
            return Ok(());
        };
        a.request.id = self.author.next(&self.conf.key, now);
        (a.sent, a.tries) = (now, a.tries + 1);
        let mut b = self.conf.key.sign(a.request.bytes(), MOBILE_HOME);
        if let Some(key) = self.conf.peers.get(&a.to) {
            b = key.sign(b, MOBILE_FOREIGN);
        }
        // 3.6.1.1: from the home address, or from the own address on this network
        let from = match a.request.flags & D {
            0 => self.conf.home,
            _ => a.request.care_of,
        };
        let sent = self.port.send_from(from, a.to, PORT, &b);
        match sent {
            // The link is full: it is sent again later.
            Err(Errno::EAGAIN) => Ok(()),
            r => r,
        }
    }

    fn discard(&mut self, why: &'static str) {
        *self.discarded.entry(why).or_default() += 1;
    }

    /// 3.6.2: a reply.
    fn reply(&mut self, b: &[u8], now: Duration, log: &mut Log) -> Result<(), Errno> {
        let Some(reply) = Reply::parse(b).filter(|r| r.home == self.conf.home) else {
            self.discard("no reply to us");
            return Ok(());
        };
        let Some(a) = self.asked.clone() else {
            self.discard("nothing was asked");
            return Ok(());
        };
        let of_home = match Reply::proven(b, &self.conf.key) {
            Ok(Proof::Sound) => true,
            // 3.6.2.1: a denial by the foreign agent has none of the home agent's.
            Ok(Proof::Missing)
                if (64..128).contains(&reply.code) || reply.code == code::UNKNOWN_AGENT =>
            {
                false
            }
            _ => {
                self.discard("authentication");
                return Ok(());
            }
        };
        let shared: Option<Key> = self.conf.peers.get(&a.to).cloned();
        let agent = shared.map(|k| k.check(b, REPLY_LEN, MOBILE_FOREIGN));
        if agent.is_some_and(|p| p != Ok(Proof::Sound)) {
            self.discard("the foreign agent's authentication");
            return Ok(());
        }
        if !self.author.matches(reply.id) {
            self.discard("identification");
            return Ok(());
        }
        if of_home {
            let mismatch = reply.code == code::IDENTIFICATION;
            self.author.learn(reply.id, mismatch, now);
        }
        self.last_code = Some(reply.code);
        self.asked = None;
        if code::accepts(reply.code) {
            return self.accepted(&a, &reply, now, log);
        }
        let text = format!("refused: {} ({})", code::text(reply.code), reply.code);
        log.add("mobile", self.conf.home, text);
        // What a refusal tells to do better is done at once, but not for ever.
        let mended = a.tries < 3
            && match reply.code {
                code::IDENTIFICATION => true,
                code::FA_LIFETIME if reply.lifetime < a.request.lifetime => {
                    self.most = reply.lifetime;
                    reply.lifetime > 0
                }
                code::UNKNOWN_AGENT if of_home => {
                    self.agent = reply.agent;
                    self.roaming.trust(self.agent)?;
                    true
                }
                _ => false,
            };
        if mended {
            self.register(now)?;
            if let Some(new) = &mut self.asked {
                new.tries += a.tries;
            }
            return Ok(());
        }
        // 3.6.3: the others are tried again, less and less often.
        let pause = (a.pause * 2).clamp(Duration::from_secs(5), LONGEST);
        self.again = Some(now + pause);
        Ok(())
    }

    fn accepted(
        &mut self,
        a: &Asked,
        reply: &Reply,
        now: Duration,
        log: &mut Log,
    ) -> Result<(), Errno> {
        self.again = None;
        let granted = reply.lifetime.min(a.request.lifetime);
        if granted == 0 {
            self.held = None;
            self.away = self.place != Place::Home;
            log.add("mobile", self.conf.home, "deregistered");
            return Ok(());
        }
        // 3.6.2.2: counted from the time of the request
        let seconds = Duration::from_secs(granted.into());
        let until = (granted != u16::MAX).then(|| a.sent + seconds);
        let spare = (seconds / 10).max(Duration::from_secs(3)).min(seconds / 2);
        let care_of = a.request.care_of;
        if self.held.is_none_or(|h| h.care_of != care_of) {
            self.handovers += 1;
            let text = format!("registered {care_of} for {granted} s");
            log.add("mobile", self.conf.home, text);
        }
        self.held = Some(Held {
            care_of,
            until,
            renew: until.map(|u| (u - spare).max(now)),
        });
        Ok(())
    }

    fn timers(&mut self, now: Duration, log: &mut Log) -> Result<bool, Errno> {
        let mut any = false;
        if let Some((when, pause)) = self.solicit
            && when <= now
        {
            any = true;
            // 2.4: three a second apart, then less and less often
            self.solicited += 1;
            let next = if self.solicited < 3 {
                pause
            } else {
                (pause * 2).min(LONGEST)
            };
            self.solicit = Some((now + next, next));
            let icmp = solicitation();
            self.link
                .send_discovery(None, self.conf.home, ALL_ROUTERS, &icmp)?;
        }
        if let Some(a) = &mut self.asked
            && a.sent + a.pause <= now
        {
            any = true;
            a.pause = (a.pause * 2).min(LONGEST);
            self.send(now)?;
        }
        if self.held.is_some_and(|h| h.until.is_some_and(|u| u <= now)) {
            any = true;
            self.held = None;
            log.add("mobile", self.conf.home, "the registration expired");
        }
        let renew = self.held.is_some_and(|h| h.renew.is_some_and(|r| r <= now));
        let again = self.again.is_some_and(|t| t <= now);
        if (renew || again) && self.asked.is_none() && self.place != Place::Unknown {
            any = true;
            self.again = None;
            if let Some(h) = &mut self.held {
                h.renew = None; // the request is repeated by itself
            }
            self.register(now)?;
        }
        Ok(any)
    }

    /// Asks for the home network's broadcasts, or no more.
    pub fn want_broadcasts(&mut self, yes: bool) {
        self.conf.flags = self.conf.flags & !B | if yes { B } else { 0 };
    }

    /// Registers again now, where it is.
    ///
    /// # Errors
    /// Those of sending.
    pub fn register_again(&mut self, now: Duration) -> Result<(), Errno> {
        self.register(now)
    }
}

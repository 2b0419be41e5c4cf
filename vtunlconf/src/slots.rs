//! The slots of usage lines: what each stands for, and where completion finds values.

/// Where the values of a slot come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// Typed in; nothing to offer.
    Typed,
    /// Names that `hosts` defined.
    Names,
    /// Interfaces of the current host.
    Interfaces,
    /// Emulated hosts.
    Hosts,
    /// Wires.
    Wires,
    /// Files of this machine.
    Files,
    /// Commands.
    Commands,
    /// Modules and drivers of the current host.
    Modules,
    /// Device nodes of the current host.
    Devices,
    /// Names of the current host's statistics.
    Kstats,
    /// Solaris error names.
    Errors,
    /// These words.
    Words(&'static [&'static str]),
}

/// A slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// As usage lines write it.
    pub name: &'static str,
    /// What it stands for.
    pub help: &'static str,
    /// Where its values come from.
    pub from: From,
    /// Takes any word, keywords too.
    pub free: bool,
}

const fn slot(name: &'static str, help: &'static str, from: From) -> Slot {
    Slot {
        name,
        help,
        from,
        free: false,
    }
}

const fn free(name: &'static str, help: &'static str, from: From) -> Slot {
    Slot {
        name,
        help,
        from,
        free: true,
    }
}

/// Every slot.
pub const SLOTS: &[Slot] = &[
    slot(
        "ADDR",
        "a host name or an address such as 10.0.0.1",
        From::Names,
    ),
    slot(
        "ADDR/LEN",
        "an address and a prefix length, such as 10.0.0.1/24",
        From::Names,
    ),
    slot(
        "DST",
        "the address at the other end, or where it goes",
        From::Names,
    ),
    slot(
        "DEST",
        "default, a host, a network such as 10.1.0.0/16",
        From::Names,
    ),
    slot(
        "GATEWAY",
        "the next hop: a host name or an address",
        From::Names,
    ),
    slot(
        "TARGET",
        "a host name, an address, a prefix such as 10.1.0.0/16, or default",
        From::Names,
    ),
    slot(
        "EXIT",
        "the tunnel's exit: a host name or an address",
        From::Names,
    ),
    slot("SRC", "a host name or an address", From::Names),
    slot(
        "MASK",
        "a netmask: 255.255.255.0, 0xffffff00 or /24",
        From::Words(&["255.255.255.0", "255.255.255.255"]),
    ),
    slot(
        "METRIC",
        "0: GATEWAY is an address of this host; 1: it is a gateway",
        From::Words(&["0", "1"]),
    ),
    slot("BYTES", "a number of bytes", From::Typed),
    slot("COUNT", "a number", From::Typed),
    slot(
        "PERCENT",
        "in how many cases: 5% or 0.5%",
        From::Words(&["1%", "5%", "50%"]),
    ),
    slot(
        "RATE",
        "bits in a second: 64k, 10M or 1G",
        From::Words(&["64k", "10M", "1G"]),
    ),
    slot("LIVE", "an Ethernet interface of this machine", From::Typed),
    slot("NUMBER", "a number, decimal or 0x hexadecimal", From::Typed),
    slot("PPA", "the unit: 0 for le0", From::Words(&["0"])),
    slot("PORT", "a UDP port", From::Typed),
    slot(
        "PROTO",
        "an IP protocol: ipip, minimal, gre or a number",
        From::Words(&["ipip", "minimal", "gre"]),
    ),
    slot(
        "LEVEL",
        "0 quiet to 3 most verbose",
        From::Words(&["0", "1", "2", "3"]),
    ),
    slot(
        "TIME",
        "a time such as 500ms, 10s, 5m or 1h",
        From::Words(&["100ms", "1s", "10s", "1m"]),
    ),
    slot(
        "FLAGS",
        "letters of SBDMGV: S keeps earlier exits, M minimal, G GRE encapsulation; or none",
        From::Words(&["S", "M", "G", "SM", "SG", "none"]),
    ),
    slot(
        "WHICH",
        "src, dst or either: where the address must stand in the inner datagram",
        From::Words(&["src", "dst", "either"]),
    ),
    slot("IF", "an interface such as le0 or ip0", From::Interfaces),
    slot("NAME", "a name", From::Typed),
    slot("HOST", "an emulated host", From::Hosts),
    slot("WIRE", "a wire", From::Wires),
    slot("TAP", "a TAP device", From::Typed),
    slot(
        "DEVICE",
        "a data link such as le0, a TUN device or a file",
        From::Words(&["le0", "le1"]),
    ),
    slot("MODULE", "a module", From::Modules),
    slot("DRIVER", "a driver", From::Modules),
    slot("NODE", "a device node such as /dev/ip", From::Devices),
    slot(
        "STREAM",
        "a stream's number, as show stacks prints it",
        From::Typed,
    ),
    slot("FILE", "a file of this machine", From::Files),
    slot("IN", "a file to read", From::Files),
    slot("OUT", "a file to write", From::Files),
    slot("ERRNO", "a Solaris error such as ENXIO", From::Errors),
    slot(
        "KSTAT",
        "statistics: module:instance:name:statistic, globs in it",
        From::Kstats,
    ),
    slot(
        "CLASS",
        "a class of statistics",
        From::Words(&["mib2", "net"]),
    ),
    slot("COMMAND", "a command", From::Commands),
    slot(
        "ETHER",
        "a hardware address such as 8:0:20:1:2:3",
        From::Typed,
    ),
    free("TEXT", "any words", From::Typed),
    free("WORDS", "a command with its arguments", From::Commands),
    free("TOPIC", "a command", From::Commands),
];

/// The slot of this name.
pub fn find(name: &str) -> Option<&'static Slot> {
    SLOTS.iter().find(|s| s.name == name)
}

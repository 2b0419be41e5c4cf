//! Through the stack of the host's own kernel, in network namespaces: as root, and in a
//! user namespace without privilege. What the host forbids is SKIPPED, with the reason.

use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use vtunl_tests::netns::{As, Lab, Skip};
use vtunl_tests::scenario::conformance::top;

type Test = fn(As) -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[
    ("hosts_reach_each_other", hosts_reach_each_other),
    (
        "a_tunnel_carries_pings_udp_and_tcp",
        a_tunnel_carries_pings_udp_and_tcp,
    ),
];

/// The tunnel as the README shows it, two `vtunlconf` on a TUN each.
const SCRIPT: &str = "examples/netns-tunnel.sh";
/// Megabytes of TCP each way: enough to meet every path MTU, and soon over.
const MEGABYTES: &str = "5";

fn main() {
    let args = Arguments::from_args();
    let mut trials = Vec::new();
    for (who, prefix) in [(As::Root, "root"), (As::User, "user")] {
        let refused = Lab::new(who).err();
        for (name, test) in TESTS {
            let full = format!("{prefix}::{name}");
            if let Some(Skip(why)) = &refused {
                if !args.list {
                    println!("SKIPPED {full}: {why}");
                }
                trials.push(Trial::test(full, || Ok(())).with_ignored_flag(true));
                continue;
            }
            trials.push(Trial::test(full, move || test(who)));
        }
    }
    libtest_mimic::run(&args, trials).exit();
}

/// The lab was granted a moment ago: refusing it now is a failure.
fn granted<T>(r: Result<T, Skip>) -> Result<T, Failed> {
    r.map_err(|Skip(why)| why.into())
}

/// The lab itself: two hosts, a wire, a ping.
fn hosts_reach_each_other(who: As) -> Result<(), Failed> {
    let mut lab = granted(Lab::new(who))?;
    let (a, b) = (granted(lab.host("a"))?, granted(lab.host("b"))?);
    lab.wire(&a, "v0", "192.0.2.1/24", &b, "v0", "192.0.2.2/24");
    a.ok("ping -n -c 1 -W 60 192.0.2.2");
    b.ok("ping -n -c 1 -W 60 192.0.2.1");
    Ok(())
}

/// What the example shows has to hold here too; it builds the program it needs, and says
/// itself what can't be done.
fn a_tunnel_carries_pings_udp_and_tcp(who: As) -> Result<(), Failed> {
    let script = top().join(SCRIPT);
    let mut cmd = match who {
        As::Root => Command::new("timeout"),
        As::User => {
            let mut c = Command::new("unshare");
            c.args(["-Urn", "timeout"]);
            c
        }
    };
    cmd.arg("1500")
        .arg("bash")
        .arg(&script)
        .arg(MEGABYTES)
        .stdin(Stdio::null());
    let out = cmd.output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&out.stdout);
    for line in said.lines().filter(|l| l.starts_with("SKIPPED")) {
        println!("{line}");
    }
    if out.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&out.stderr);
    Err(format!("{SCRIPT}: {}\n{said}{errors}", out.status).into())
}

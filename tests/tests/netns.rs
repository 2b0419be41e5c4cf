//! Through the stack of the host's own kernel, in network namespaces: as root, and in a
//! user namespace without privilege. What the host forbids is SKIPPED, with the reason.

use libtest_mimic::{Arguments, Failed, Trial};
use vtunl_tests::netns::{As, Lab, Skip};

type Test = fn(Lab) -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[("hosts_reach_each_other", hosts_reach_each_other)];

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
            trials.push(Trial::test(full, move || match Lab::new(who) {
                Ok(lab) => test(lab),
                Err(Skip(why)) => Err(why.into()), // it was granted a moment ago
            }));
        }
    }
    libtest_mimic::run(&args, trials).exit();
}

fn skip_is_failure(s: Skip) -> Failed {
    s.0.into()
}

/// The lab itself: two hosts, a wire, a ping.
fn hosts_reach_each_other(mut lab: Lab) -> Result<(), Failed> {
    let a = lab.host("a").map_err(skip_is_failure)?;
    let b = lab.host("b").map_err(skip_is_failure)?;
    lab.wire(&a, "v0", "192.0.2.1/24", &b, "v0", "192.0.2.2/24");
    a.ok("ping -n -c 2 -i 0.01 -W 2 192.0.2.2");
    b.ok("ping -n -c 2 -i 0.01 -W 2 192.0.2.1");
    Ok(())
}

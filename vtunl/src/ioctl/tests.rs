//! Numbers and layouts, and the C header against them.

use super::*;
use proptest::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn numbers_follow_tables_2_and_3_and_extensions_begin_at_32() {
    // The decisions, "ioctl numbers".
    let names = [
        "SETCONF_TRANSPORT",
        "SETCONF_DLSUSER",
        "GETCONF",
        "ENCAP_ADD",
        "ENCAP_REM",
        "ENCAP_OK",
        "ENCAP_SIZE",
        "ENCAP_GET",
        "DECAP_ADD",
        "DECAP_REM",
        "DECAP_OK",
        "DECAP_SIZE",
        "DECAP_GET",
        "DEBUG_SET",
        "DEBUG_GET",
        "MAXPMTU_SET",
        "MAXPMTU_GET",
    ];
    for (i, n) in names.iter().enumerate() {
        let r = &IOCTLS[i];
        assert_eq!(
            (r.cmd, r.name),
            (0x5600 | (i as i32 + 1), &*format!("VTUNL_{n}"))
        );
    }
    assert!(IOCTLS[names.len()..].iter().all(|r| r.cmd >= 0x5600 + 32));
    assert_eq!((VTUNL_NOTIFY, VTUNL_STATS), (0x5620, 0x5621));
    let mut cmds: Vec<i32> = IOCTLS.iter().map(|r| r.cmd).collect();
    cmds.dedup();
    assert_eq!(cmds.len(), IOCTLS.len());
}

#[test]
fn who_may() {
    // The decisions, "who may".
    for r in IOCTLS {
        let n = r.name;
        let changes = n.contains("SETCONF")
            || n.ends_with("_ADD")
            || n.ends_with("_REM")
            || n.ends_with("_SET")
            || n == "VTUNL_NOTIFY";
        assert_eq!(r.privileged, changes, "{n}");
    }
}

#[test]
fn a_request_byte_by_byte() {
    // The decisions, "Structures": vtunl_req, 24 bytes; the extended one, 32.
    let q = Req {
        target_addr: 0x0a01_0203,
        t_exit_addr: 0xc0a8_0201,
        encap_flags: 0x1180,
        decap_flags: 0x2203,
        address: 0x0a00_0001,
        addr_mask: 0xffff_ff00,
        ppa: 7,
        ip_protocol: 4,
        mtu_bound: 1400,
        target_mask: 0xffff_0000,
        lifetime: 60,
    };
    let b = q.emit();
    assert_eq!(b[0..8], [10, 1, 2, 3, 192, 168, 2, 1]);
    assert_eq!(b[8..10], 0x1180u16.to_ne_bytes());
    assert_eq!(b[10..12], 0x2203u16.to_ne_bytes());
    assert_eq!(b[12..22], [10, 0, 0, 1, 255, 255, 255, 0, 7, 4]);
    assert_eq!(b[22..24], 1400u16.to_ne_bytes());
    assert_eq!(b[24..28], [255, 255, 0, 0]);
    assert_eq!(b[28..32], 60u32.to_ne_bytes());
    assert_eq!(Req::parse(&b), Ok(q));
    assert_eq!(
        Req::parse(&b[..24]),
        Ok(Req {
            target_mask: 0,
            lifetime: 0,
            ..q
        })
    );
    for n in (0..=40).filter(|n| *n != 24 && *n != 32) {
        assert_eq!(Req::parse(&vec![0; n]), Err(Errno::EINVAL), "{n} bytes");
    }
}

#[test]
fn conf_is_read_as_it_is_written_and_a_long_name_is_cut() {
    let c = Conf {
        kind: VTUNL_TRANSPORT,
        ppa: 3,
        ip_protocol: 4,
        address: 0x0a00_0001,
        addr_mask: 0xff00_0000,
        last_req: 6,
        last_resp: 17,
        state: 3,
        modname: "ip".into(),
    };
    assert_eq!(Conf::parse(&c.emit()), Ok(c.clone()));
    let long = Conf {
        modname: "a-very-long-name".into(),
        ..c
    };
    assert_eq!(Conf::parse(&long.emit()).unwrap().modname, "a-very-long");
    let e = ExitReq {
        addr: 1 << 24,
        flags: 7,
        key: 9,
        ttl: 64,
    };
    assert_eq!(ExitReq::parse(&e.emit()), Ok(e));
}

/// The C header, compiled, says what this file says.
#[test]
fn the_c_header_agrees() {
    let mut c = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include \"vtunl.h\"\n\
         #define P(x) printf(\"%s %lu\\n\", #x, (unsigned long)(x))\nint main(void) {\n",
    );
    let mut want = String::new();
    let mut expect = |expr: &str, value: u64| {
        c.push_str(&format!("P({expr});\n"));
        want.push_str(&format!("{expr} {value}\n"));
    };
    for r in IOCTLS {
        expect(r.name, r.cmd as u64);
    }
    for (name, value) in [
        ("MAXEXITCOUNT", crate::encap_table::MAXEXITCOUNT as u64),
        ("MAXMNAME_SZ", MAXMNAME_SZ as u64),
        ("MAXMAMESZ", MAXMNAME_SZ as u64),
        ("DECAP_IF_SRC", 1),
        ("DECAP_IF_DST", 2),
        ("DECAP_IF_EITHER", 3),
        ("VTUNL_ENCAP_S", 0x80),
        ("VTUNL_ENCAP_B", 0x40),
        ("VTUNL_ENCAP_D", 0x20),
        ("VTUNL_ENCAP_M", 0x10),
        ("VTUNL_ENCAP_G", 0x08),
        ("VTUNL_ENCAP_V", 0x04),
        ("VTUNL_NONE", VTUNL_NONE as u64),
        ("VTUNL_TRANSPORT", VTUNL_TRANSPORT as u64),
        ("VTUNL_DLSUSER", VTUNL_DLSUSER as u64),
        (
            "VTUNL_EV_EXPIRED",
            u64::from(crate::lifetime::VTUNL_EV_EXPIRED),
        ),
        (
            "VTUNL_EXIT_NET_UNREACH",
            u64::from(crate::texit_table::EXIT_NET_UNREACH),
        ),
        (
            "VTUNL_EXIT_HOST_UNREACH",
            u64::from(crate::texit_table::EXIT_HOST_UNREACH),
        ),
        (
            "VTUNL_EXIT_PROTO_UNREACH",
            u64::from(crate::texit_table::EXIT_PROTO_UNREACH),
        ),
        (
            "VTUNL_EXIT_TTL_EXCEEDED",
            u64::from(crate::texit_table::EXIT_TTL_EXCEEDED),
        ),
        (
            "VTUNL_EXIT_CONGESTED",
            u64::from(crate::texit_table::EXIT_CONGESTED),
        ),
        (
            "VTUNL_EXIT_PMTU_LEARNED",
            u64::from(crate::texit_table::EXIT_PMTU_LEARNED),
        ),
        ("VTUNL_GRE_CHECKSUM", u64::from(GRE_CHECKSUM)),
        ("VTUNL_GRE_KEY", u64::from(GRE_KEY)),
        ("VTUNL_GRE_SEQUENCE", u64::from(GRE_SEQUENCE)),
        ("sizeof(struct vtunl_req)", REQ_LEN as u64),
        ("sizeof(struct vtunl_xreq)", XREQ_LEN as u64),
        ("sizeof(struct vtunl_conf)", CONF_LEN as u64),
        ("sizeof(struct vtunl_exit)", EXIT_LEN as u64),
        ("sizeof(struct vtunl_policy)", 4),
        ("sizeof(struct vtunl_event)", 16),
        ("offsetof(struct vtunl_req, vr_t_exit_addr)", 4),
        ("offsetof(struct vtunl_req, vr_encap_flags)", 8),
        ("offsetof(struct vtunl_req, vr_decap_flags)", 10),
        ("offsetof(struct vtunl_req, vr_address)", 12),
        ("offsetof(struct vtunl_req, vr_addr_mask)", 16),
        ("offsetof(struct vtunl_req, vr_ppa)", 20),
        ("offsetof(struct vtunl_req, vr_ip_protocol)", 21),
        ("offsetof(struct vtunl_req, vr_mtu_bound)", 22),
        ("offsetof(struct vtunl_xreq, vr_target_mask)", 24),
        ("offsetof(struct vtunl_xreq, vr_lifetime)", 28),
        ("offsetof(struct vtunl_conf, ppa)", 4),
        ("offsetof(struct vtunl_conf, ip_protocol)", 5),
        ("offsetof(struct vtunl_conf, address)", 8),
        ("offsetof(struct vtunl_conf, addr_mask)", 12),
        ("offsetof(struct vtunl_conf, last_req)", 16),
        ("offsetof(struct vtunl_conf, last_resp)", 24),
        ("offsetof(struct vtunl_conf, state)", 32),
        ("offsetof(struct vtunl_conf, modname)", 40),
        ("offsetof(struct vtunl_exit, ve_flags)", 4),
        ("offsetof(struct vtunl_exit, ve_key)", 8),
        ("offsetof(struct vtunl_exit, ve_ttl)", 12),
        ("offsetof(struct vtunl_policy, vp_ttl)", 0),
        ("offsetof(struct vtunl_policy, vp_ecn_compat)", 1),
        ("offsetof(struct vtunl_policy, vp_dscp)", 2),
        ("offsetof(struct vtunl_policy, vp_df)", 3),
        ("offsetof(struct vtunl_event, ev_type)", 0),
        ("offsetof(struct vtunl_event, ev_number)", 4),
        ("offsetof(struct vtunl_event, ev_count)", 8),
        ("sizeof(((struct vtunl_conf *)0)->modname)", 12),
        ("sizeof(((struct vtunl_conf *)0)->last_req)", 8),
        ("offsetof(struct vtunl_xreq, vr_mtu_bound)", 22),
        // In memory 255.255.255.254, whatever the byte order.
        ("((unsigned char *)&(u32){DEFAULT_ADDR})[0]", 255),
        (
            "((unsigned char *)&(u32){DEFAULT_ADDR})[3]",
            u64::from(crate::encap_table::DEFAULT_ADDR & 255),
        ),
    ] {
        expect(name, value);
    }
    c.push_str("return 0; }\n");
    let dir = std::env::temp_dir().join(format!("vtunl-header-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let program = dir.join("a.out");
    let cc = Command::new("cc")
        .args([
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-pedantic",
            "-Werror",
            "-x",
            "c",
            "-",
            "-I",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
        .arg("-o")
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn();
    let mut cc = match cc {
        Ok(cc) => cc,
        Err(e) => {
            println!("SKIPPED the_c_header_agrees: no C compiler ({e})");
            return;
        }
    };
    cc.stdin.take().unwrap().write_all(c.as_bytes()).unwrap();
    assert!(
        cc.wait().unwrap().success(),
        "vtunl.h does not compile:\n{c}"
    );
    let out = Command::new(&program).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), want);
}

proptest! {
    #[test]
    fn codecs_never_panic_and_are_inverse(b in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(q) = Req::parse(&b) {
            prop_assert_eq!(&q.emit()[..b.len()], &b[..]);
        }
        let _ = Conf::parse(&b);
        let _ = ExitReq::parse(&b);
    }
}

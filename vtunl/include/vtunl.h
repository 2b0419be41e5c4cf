/*
 * vtunl.h: ioctls of the versatile tunneling interface.
 *
 * Issue them with I_STR on a stream in which vtunl is directly under the stream
 * head. Structures are in native byte order; every IPv4 address is in network
 * byte order. Errors: EPERM without privilege, EINVAL for a wrong length or value,
 * ENXIO for what does not exist, ENOSPC for a buffer that is too small or a ninth
 * exit, EBUSY for a protocol that another instance has subscribed to.
 */
#ifndef VTUNL_H
#define VTUNL_H

#include <stdint.h>
#include <arpa/inet.h>	/* htonl */

typedef uint32_t u32;
typedef uint16_t u16;

#define VTUNLIOC		('V' << 8)

/* Instance-specific: only the instance in the stream is affected. */
#define VTUNL_SETCONF_TRANSPORT	(VTUNLIOC | 1)	/* vr_address, vr_ip_protocol */
#define VTUNL_SETCONF_DLSUSER	(VTUNLIOC | 2)	/* vr_address, vr_addr_mask, vr_ppa */
#define VTUNL_GETCONF		(VTUNLIOC | 3)	/* struct vtunl_conf */

/* Global: all instances share what they change. */
#define VTUNL_ENCAP_ADD		(VTUNLIOC | 4)	/* vr_target_addr, vr_t_exit_addr, vr_encap_flags */
#define VTUNL_ENCAP_REM		(VTUNLIOC | 5)	/* vr_target_addr, vr_t_exit_addr */
#define VTUNL_ENCAP_OK		(VTUNLIOC | 6)	/* vr_target_addr */
#define VTUNL_ENCAP_SIZE	(VTUNLIOC | 7)	/* int */
#define VTUNL_ENCAP_GET		(VTUNLIOC | 8)	/* char [] */
#define VTUNL_DECAP_ADD		(VTUNLIOC | 9)	/* vr_target_addr, vr_decap_flags */
#define VTUNL_DECAP_REM		(VTUNLIOC | 10)	/* vr_target_addr */
#define VTUNL_DECAP_OK		(VTUNLIOC | 11)	/* vr_target_addr */
#define VTUNL_DECAP_SIZE	(VTUNLIOC | 12)	/* int */
#define VTUNL_DECAP_GET		(VTUNLIOC | 13)	/* char [] */
#define VTUNL_DEBUG_SET		(VTUNLIOC | 14)	/* int */
#define VTUNL_DEBUG_GET		(VTUNLIOC | 15)	/* int */
#define VTUNL_MAXPMTU_SET	(VTUNLIOC | 16)	/* vr_address, vr_mtu_bound */
#define VTUNL_MAXPMTU_GET	(VTUNLIOC | 17)	/* vr_address, vr_mtu_bound */

/* Extensions. */
#define VTUNL_NOTIFY		(VTUNLIOC | 32)	/* int: M_PCPROTO when bindings expire */
#define VTUNL_STATS		(VTUNLIOC | 33)	/* char [] */
#define VTUNL_ENCAP_GETX	(VTUNLIOC | 34)	/* char [] */
#define VTUNL_EXIT_GETX		(VTUNLIOC | 35)	/* char [] */
#define VTUNL_DECAP_GETX	(VTUNLIOC | 36)	/* char [] */
#define VTUNL_POLICY_SET	(VTUNLIOC | 37)	/* struct vtunl_policy */
#define VTUNL_POLICY_GET	(VTUNLIOC | 38)	/* struct vtunl_policy */
#define VTUNL_EXIT_SET		(VTUNLIOC | 39)	/* struct vtunl_exit */
#define VTUNL_SOURCE_ADD	(VTUNLIOC | 40)	/* vr_address, vr_addr_mask */
#define VTUNL_SOURCE_REM	(VTUNLIOC | 41)	/* vr_address, vr_addr_mask */
#define VTUNL_INST_STATS	(VTUNLIOC | 42)	/* char []: this instance's counters and drops */

#define MAXEXITCOUNT		8	/* exits of one target */

/*
 * The target whose entry serves every destination without one: 255.255.255.254,
 * which is no unicast, multicast or broadcast address. In network byte order.
 */
#define DEFAULT_ADDR		htonl(0xfffffffeU)

/* vr_encap_flags, low byte: the order of a Mobile-IP registration request. */
#define VTUNL_ENCAP_S		0x80	/* retain prior bindings */
#define VTUNL_ENCAP_B		0x40	/* broadcasts, too */
#define VTUNL_ENCAP_D		0x20	/* decapsulation by the mobile node */
#define VTUNL_ENCAP_M		0x10	/* minimal encapsulation, RFC 2004 */
#define VTUNL_ENCAP_G		0x08	/* GRE, RFC 2784 */
#define VTUNL_ENCAP_V		0x04	/* kept, no effect */

/* vr_decap_flags: where the address stands in the inner datagram. */
#define DECAP_IF_SRC		1
#define DECAP_IF_DST		2
#define DECAP_IF_EITHER		3

struct vtunl_req {
	u32	vr_target_addr;
	u32	vr_t_exit_addr;
	u16	vr_encap_flags;
	u16	vr_decap_flags;
	u32	vr_address;
	u32	vr_addr_mask;
	unsigned char vr_ppa;
	unsigned char vr_ip_protocol;
	u16	vr_mtu_bound;
};

/* Extended request: accepted wherever a vtunl_req is. */
struct vtunl_xreq {
	u32	vr_target_addr;
	u32	vr_t_exit_addr;
	u16	vr_encap_flags;
	u16	vr_decap_flags;
	u32	vr_address;
	u32	vr_addr_mask;
	unsigned char vr_ppa;
	unsigned char vr_ip_protocol;
	u16	vr_mtu_bound;
	u32	vr_target_mask;	/* 0: a single address */
	u32	vr_lifetime;	/* seconds, 0: for ever */
};

#define MAXMNAME_SZ		11
#define MAXMAMESZ		MAXMNAME_SZ	/* as the paper once spells it */

#define VTUNL_NONE		0	/* a driver, or not configured */
#define VTUNL_TRANSPORT		1	/* over /dev/ip */
#define VTUNL_DLSUSER		2	/* over a DLPI device */

struct vtunl_conf {
	int	type;		/* vtunl instance type */
	unsigned char ppa;		/* ppa of DLS provider */
	unsigned char ip_protocol;	/* ip protocol subscribed to */
	u32	address;	/* IP addr of DLS provider or tunnel src */
	u32	addr_mask;	/* netmask assigned to DLS provider */
	unsigned long last_req;	/* last request sent to ip or DLS provider */
	unsigned long last_resp;	/* last response from ip or DLS provider */
	unsigned long state;		/* as determined by msg with ip or the DLS provider */
	char	modname[MAXMNAME_SZ + 1]; /* "ip" or name of DLS provider */
};

/*
 * VTUNL_ENCAP_GET: packed, in this order:
 *	u32 bytes filled, u32 targets,
 *	per target: u32 address, u32 exits, u32 address of each exit,
 *	u32 exits, per exit: u32 address, u16 pmtu, u16 maxpmtu, u16 state.
 * VTUNL_DECAP_GET: packed, in this order:
 *	u32 bytes filled, u32 vtunldecapall, u32 targets,
 *	per target: u32 address, u16 flags.
 */

/* State of an exit. */
#define VTUNL_EXIT_NET_UNREACH		0x01
#define VTUNL_EXIT_HOST_UNREACH		0x02
#define VTUNL_EXIT_PROTO_UNREACH	0x04
#define VTUNL_EXIT_TTL_EXCEEDED		0x08
#define VTUNL_EXIT_CONGESTED		0x10
#define VTUNL_EXIT_PMTU_LEARNED		0x20

struct vtunl_policy {
	unsigned char vp_ttl;		/* TTL of outer headers */
	unsigned char vp_ecn_compat;	/* 1: outer ECN field 0 (RFC 6040 compatibility) */
	unsigned char vp_dscp;	/* DSCP of outer headers; 0xff: the inner one's */
	unsigned char vp_df;		/* 0: inner DF copied; 1: DF set where it fits; 2: set, and
				   the inner datagram fragmented where it does not fit */
};

#define VTUNL_GRE_CHECKSUM	1
#define VTUNL_GRE_KEY		2
#define VTUNL_GRE_SEQUENCE	4

struct vtunl_exit {
	u32	ve_addr;	/* the exit */
	u32	ve_flags;	/* VTUNL_GRE_* */
	u32	ve_key;		/* GRE key */
	unsigned char ve_ttl;		/* TTL of outer headers; 0: the policy's */
	unsigned char ve_pad[3];
};

/*
 * VTUNL_STATS, VTUNL_INST_STATS: u32 bytes filled, u32 rows, per row: char name[48], uint64_t value.
 * VTUNL_ENCAP_GETX: u32 bytes filled, u32 targets, per target: u32 address, u32 mask,
 *	u32 exits, uint64_t datagrams, uint64_t octets,
 *	per exit: u32 address, u16 flags, u16 0, u32 remaining lifetime (0: for ever).
 * VTUNL_EXIT_GETX: u32 bytes filled, u32 exits, per exit: u32 address, u32 targets,
 *	u16 pmtu, u16 maxpmtu, u16 state, u_char ttl, u_char 0, uint64_t datagrams,
 *	uint64_t octets, u32 VTUNL_GRE_* flags, u32 GRE key.
 * VTUNL_DECAP_GETX: u32 bytes filled, u32 vtunldecapall, u32 targets,
 *	per target: u32 address, u32 mask, u32 flags,
 *	u32 allowed outer sources, per source: u32 address, u32 mask.
 * All packed. The buffer's first u32 says how many entries to skip. As many are given as
 * fit, 128 at most: ask again for what follows, until there is none.
 */

/* What VTUNL_NOTIFY sends: this, then ev_count times u32 target, mask, exit. */
#define VTUNL_EV_EXPIRED	1
struct vtunl_event {
	u32	ev_type;	/* VTUNL_EV_EXPIRED */
	u32	ev_number;	/* of this message: a gap tells of a lost one */
	u32	ev_count;
	u32	ev_pad;
};

#endif /* VTUNL_H */

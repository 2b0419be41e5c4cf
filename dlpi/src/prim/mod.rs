//! Every DL_* message as a value: `parse` proves its lengths once, `emit` is the inverse.
//!
//! ```text
//!   M_PROTO bytes ── parse ──► Prim ── emit ──► M_PROTO or M_PCPROTO, as the table says
//!   M_PROTO bytes ── fast::unitdata_req ──► slices of the same bytes     (data path:
//!   pooled Msg    ◄─ fast::put_unitdata_ind ── slices                     allocates nothing)
//! ```
//!
//! The enum, the `DL_*` numbers, the message types and both directions of the codec come
//! from the one table below. No offset arithmetic leaves this folder.
//!
//! Spec: dlpi(7P); sys/dlpi.h; Data Link Provider Interface 2.0.0.
//! Kept: field order (DL_UDERROR_IND has the UNIX error first, DL_ERROR_ACK last), field
//! widths, host byte order, "too short" as DL_BADPRIM.
//! Differs: an address outside the block is DL_BADADDR; Solaris 2.x reads past the end.
//! Not done: qos structures are carried as bytes and not looked into.

mod codec;
mod consts;
mod error;
pub mod fast;
mod info;

use streams::{Msg, MsgType};

pub use codec::OffLen;
pub use consts::*;
pub use error::{DlErrno, DlError};
pub use info::InfoAck;

use codec::{Field, Reader, Writer};

macro_rules! prims {
    ($(
        $(#[$doc:meta])*
        $name:ident = $con:ident $num:literal $ty:ident
        $({ $($(#[$fdoc:meta])* $field:ident : $ft:ty),* $(,)? })? ;
    )*) => {
        $(#[doc = concat!("`dl_primitive` of [`Prim::", stringify!($name), "`].")]
        pub const $con: u32 = $num;)*

        /// A DLPI primitive. Data of a `+ data` primitive follows in M_DATA blocks of the
        /// same message and is not part of the value.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Prim { $($(#[$doc])* $name $({ $($(#[$fdoc])* $field: $ft),* })?),* }

        impl Prim {
            /// Every primitive: number, name, type of its message.
            pub const ALL: &'static [(u32, &'static str, MsgType)] =
                &[$(($num, stringify!($con), MsgType::$ty)),*];

            /// `dl_primitive`.
            pub const fn number(&self) -> u32 {
                match self { $(Prim::$name { .. } => $num),* }
            }

            fn decode(number: u32, r: &mut Reader<'_>) -> Result<Prim, DlError> {
                Ok(match number {
                    $($num => Prim::$name $({ $($field: <$ft as Field>::get(r)?),* })?,)*
                    _ => return Err(DlErrno::BADPRIM.into()),
                })
            }

            fn encode(&self) -> Vec<u8> {
                match self {
                    $(Prim::$name $({ $($field),* })? => {
                        #[allow(unused_mut)] // a primitive without fields
                        let mut w = Writer::new(4 $($(+ <$ft as Field>::SIZE)*)?);
                        w.word($num);
                        $($($field.put(&mut w);)*)?
                        w.finish()
                    })*
                }
            }
        }
    };
}

prims! {
    // ---- local management ----
    /// Asks what the provider is.
    InfoReq = DL_INFO_REQ 0x00 PcProto;
    /// What the provider is.
    InfoAck = DL_INFO_ACK 0x03 PcProto {
        /// The fields after `dl_primitive`.
        info: InfoAck,
    };
    /// Ties the stream to a physical point of attachment.
    AttachReq = DL_ATTACH_REQ 0x0b Proto {
        /// Its number: N of leN.
        ppa: u32,
    };
    /// Unties it.
    DetachReq = DL_DETACH_REQ 0x0c Proto;
    /// Gives the stream a SAP.
    BindReq = DL_BIND_REQ 0x01 Proto {
        /// The SAP.
        sap: u32,
        /// Connection-oriented: indications to queue.
        max_conind: u32,
        /// DL_CLDLS or another service.
        service_mode: u16,
        /// Connection-oriented: the stream manages connections.
        conn_mgmt: u16,
        /// DL_AUTO_XID, DL_AUTO_TEST.
        xidtest_flg: u32,
    };
    /// The stream is bound.
    BindAck = DL_BIND_ACK 0x04 PcProto {
        /// The SAP.
        sap: u32,
        /// The DLSAP address.
        addr: Vec<u8>,
        /// Connection-oriented: indications queued.
        max_conind: u32,
        /// What the provider answers by itself.
        xidtest_flg: u32,
    };
    /// Takes the SAP away.
    UnbindReq = DL_UNBIND_REQ 0x02 Proto;
    /// Binds a further SAP.
    SubsBindReq = DL_SUBS_BIND_REQ 0x1b Proto {
        /// The SAP.
        sap: OffLen,
        /// DL_PEER_BIND or DL_HIERARCHICAL_BIND.
        class: u32,
    };
    /// The further SAP is bound.
    SubsBindAck = DL_SUBS_BIND_ACK 0x1c PcProto {
        /// The SAP.
        sap: OffLen,
    };
    /// Unbinds a further SAP.
    SubsUnbindReq = DL_SUBS_UNBIND_REQ 0x15 Proto {
        /// The SAP.
        sap: OffLen,
    };
    /// Receives one multicast address from now on.
    EnabmultiReq = DL_ENABMULTI_REQ 0x1d Proto {
        /// The address.
        addr: Vec<u8>,
    };
    /// No longer receives it.
    DisabmultiReq = DL_DISABMULTI_REQ 0x1e Proto {
        /// The address.
        addr: Vec<u8>,
    };
    /// Receives more than is addressed to the stream.
    PromisconReq = DL_PROMISCON_REQ 0x1f Proto {
        /// DL_PROMISC_*.
        level: u32,
    };
    /// No longer does.
    PromiscoffReq = DL_PROMISCOFF_REQ 0x20 Proto {
        /// DL_PROMISC_*.
        level: u32,
    };
    /// A request was carried out.
    OkAck = DL_OK_ACK 0x06 PcProto {
        /// Which.
        correct_primitive: u32,
    };
    /// A request failed.
    ErrorAck = DL_ERROR_ACK 0x05 PcProto {
        /// Which.
        error_primitive: u32,
        /// `dl_errno`.
        errno: u32,
        /// `dl_unix_errno`.
        unix_errno: u32,
    };
    /// Asks for the physical address.
    PhysAddrReq = DL_PHYS_ADDR_REQ 0x31 Proto {
        /// DL_FACT_PHYS_ADDR or DL_CURR_PHYS_ADDR.
        addr_type: u32,
    };
    /// The physical address.
    PhysAddrAck = DL_PHYS_ADDR_ACK 0x32 PcProto {
        /// The address.
        addr: Vec<u8>,
    };
    /// Changes the physical address.
    SetPhysAddrReq = DL_SET_PHYS_ADDR_REQ 0x33 Proto {
        /// The address.
        addr: Vec<u8>,
    };
    /// Asks for the counters.
    GetStatisticsReq = DL_GET_STATISTICS_REQ 0x34 Proto;
    /// The counters.
    GetStatisticsAck = DL_GET_STATISTICS_ACK 0x35 PcProto {
        /// Provider's own layout; ours is that of `dlpi::Statistics`.
        stat: Vec<u8>,
    };
    /// Spider's monitor mode; here to be refused.
    MonitorLinkLayer = DL_MONITOR_LINK_LAYER 0x36 Proto;

    // ---- connectionless data ----
    /// Sends a datagram. + data
    UnitdataReq = DL_UNITDATA_REQ 0x07 Proto {
        /// The DLSAP it goes to.
        dest: Vec<u8>,
        /// Lowest acceptable priority.
        priority_min: i32,
        /// Desired priority.
        priority_max: i32,
    };
    /// A datagram came. + data
    UnitdataInd = DL_UNITDATA_IND 0x08 Proto {
        /// The DLSAP it was sent to.
        dest: Vec<u8>,
        /// The DLSAP it came from.
        src: Vec<u8>,
        /// Not zero: the destination was a multicast or broadcast address.
        group: u32,
    };
    /// A datagram could not be sent. + data
    UderrorInd = DL_UDERROR_IND 0x09 Proto {
        /// The DLSAP it was for.
        dest: Vec<u8>,
        /// `dl_unix_errno`: here before `dl_errno`.
        unix_errno: u32,
        /// `dl_errno`.
        errno: u32,
    };
    /// Chooses a quality of service.
    UdqosReq = DL_UDQOS_REQ 0x0a Proto {
        /// The qos structure.
        qos: Vec<u8>,
    };

    // ---- XID, TEST, acknowledged connectionless ----
    /// Sends an XID command. + data
    XidReq = DL_XID_REQ 0x29 Proto {
        /// Poll bit.
        flag: u32,
        /// The DLSAP it goes to.
        dest: Vec<u8>,
    };
    /// An XID command came. + data
    XidInd = DL_XID_IND 0x2a Proto {
        /// Poll bit.
        flag: u32,
        /// The DLSAP it was sent to.
        dest: Vec<u8>,
        /// The DLSAP it came from.
        src: Vec<u8>,
    };
    /// Sends an XID response. + data
    XidRes = DL_XID_RES 0x2b Proto {
        /// Final bit.
        flag: u32,
        /// The DLSAP it goes to.
        dest: Vec<u8>,
    };
    /// An XID response came. + data
    XidCon = DL_XID_CON 0x2c Proto {
        /// Final bit.
        flag: u32,
        /// The DLSAP it was sent to.
        dest: Vec<u8>,
        /// The DLSAP it came from.
        src: Vec<u8>,
    };
    /// Sends a TEST command. + data
    TestReq = DL_TEST_REQ 0x2d Proto {
        /// Poll bit.
        flag: u32,
        /// The DLSAP it goes to.
        dest: Vec<u8>,
    };
    /// A TEST command came. + data
    TestInd = DL_TEST_IND 0x2e Proto {
        /// Poll bit.
        flag: u32,
        /// The DLSAP it was sent to.
        dest: Vec<u8>,
        /// The DLSAP it came from.
        src: Vec<u8>,
    };
    /// Sends a TEST response. + data
    TestRes = DL_TEST_RES 0x2f Proto {
        /// Final bit.
        flag: u32,
        /// The DLSAP it goes to.
        dest: Vec<u8>,
    };
    /// A TEST response came. + data
    TestCon = DL_TEST_CON 0x30 Proto {
        /// Final bit.
        flag: u32,
        /// The DLSAP it was sent to.
        dest: Vec<u8>,
        /// The DLSAP it came from.
        src: Vec<u8>,
    };
    /// Sends a datagram that the peer acknowledges. + data
    DataAckReq = DL_DATA_ACK_REQ 0x21 Proto {
        /// Returned in the status.
        correlation: u32,
        /// The DLSAP it goes to.
        dest: Vec<u8>,
        /// The DLSAP it comes from.
        src: Vec<u8>,
        /// Priority.
        priority: u32,
        /// Class of service.
        service_class: u32,
    };
    /// An acknowledged datagram came. + data
    DataAckInd = DL_DATA_ACK_IND 0x22 Proto {
        /// The DLSAP it was sent to.
        dest: Vec<u8>,
        /// The DLSAP it came from.
        src: Vec<u8>,
        /// Priority.
        priority: u32,
        /// Class of service.
        service_class: u32,
    };
    /// How an acknowledged datagram fared.
    DataAckStatusInd = DL_DATA_ACK_STATUS_IND 0x23 Proto {
        /// Of the request.
        correlation: u32,
        /// The outcome.
        status: u32,
    };
    /// Asks the peer for a datagram. + data
    ReplyReq = DL_REPLY_REQ 0x24 Proto {
        /// Returned in the status.
        correlation: u32,
        /// The DLSAP asked.
        dest: Vec<u8>,
        /// The DLSAP asking.
        src: Vec<u8>,
        /// Priority.
        priority: u32,
        /// Class of service.
        service_class: u32,
    };
    /// The peer asks for a datagram. + data
    ReplyInd = DL_REPLY_IND 0x25 Proto {
        /// The DLSAP asked.
        dest: Vec<u8>,
        /// The DLSAP asking.
        src: Vec<u8>,
        /// Priority.
        priority: u32,
        /// Class of service.
        service_class: u32,
    };
    /// How a DL_REPLY_REQ fared. + data
    ReplyStatusInd = DL_REPLY_STATUS_IND 0x26 Proto {
        /// Of the request.
        correlation: u32,
        /// The outcome.
        status: u32,
    };
    /// Lays a reply ready. + data
    ReplyUpdateReq = DL_REPLY_UPDATE_REQ 0x27 Proto {
        /// Returned in the status.
        correlation: u32,
        /// The DLSAP replying.
        src: Vec<u8>,
    };
    /// How a DL_REPLY_UPDATE_REQ fared.
    ReplyUpdateStatusInd = DL_REPLY_UPDATE_STATUS_IND 0x28 Proto {
        /// Of the request.
        correlation: u32,
        /// The outcome.
        status: u32,
    };

    // ---- connection oriented: known, to be refused by the right number ----
    /// Asks for a connection.
    ConnectReq = DL_CONNECT_REQ 0x0d Proto {
        /// The DLSAP called.
        dest: Vec<u8>,
        /// Quality of service.
        qos: Vec<u8>,
        /// Reserved.
        growth: u32,
    };
    /// A connection is asked for.
    ConnectInd = DL_CONNECT_IND 0x0e Proto {
        /// Names the connection.
        correlation: u32,
        /// The DLSAP called.
        called: Vec<u8>,
        /// The DLSAP calling.
        calling: Vec<u8>,
        /// Quality of service.
        qos: Vec<u8>,
        /// Reserved.
        growth: u32,
    };
    /// Accepts a connection.
    ConnectRes = DL_CONNECT_RES 0x0f Proto {
        /// Of the indication.
        correlation: u32,
        /// The stream that takes it.
        resp_token: u32,
        /// Quality of service.
        qos: Vec<u8>,
        /// Reserved.
        growth: u32,
    };
    /// The connection stands.
    ConnectCon = DL_CONNECT_CON 0x10 Proto {
        /// The DLSAP that answered.
        resp: Vec<u8>,
        /// Quality of service.
        qos: Vec<u8>,
        /// Reserved.
        growth: u32,
    };
    /// Asks for the stream's token.
    TokenReq = DL_TOKEN_REQ 0x11 PcProto;
    /// The stream's token.
    TokenAck = DL_TOKEN_ACK 0x12 PcProto {
        /// The token.
        token: u32,
    };
    /// Ends a connection.
    DisconnectReq = DL_DISCONNECT_REQ 0x13 Proto {
        /// Why.
        reason: u32,
        /// Which.
        correlation: u32,
    };
    /// A connection has ended.
    DisconnectInd = DL_DISCONNECT_IND 0x14 Proto {
        /// DL_PROVIDER or DL_USER.
        originator: u32,
        /// Why.
        reason: u32,
        /// Which.
        correlation: u32,
    };
    /// Resets a connection.
    ResetReq = DL_RESET_REQ 0x17 Proto;
    /// A connection was reset.
    ResetInd = DL_RESET_IND 0x18 Proto {
        /// DL_PROVIDER or DL_USER.
        originator: u32,
        /// Why.
        reason: u32,
    };
    /// Answers a reset.
    ResetRes = DL_RESET_RES 0x19 Proto;
    /// The reset is done.
    ResetCon = DL_RESET_CON 0x1a Proto;

    // ---- Solaris extensions, later than 2.6 ----
    /// Asks to be told of changes.
    NotifyReq = DL_NOTIFY_REQ 0x100 Proto {
        /// DL_NOTE_* bits.
        notifications: u32,
        /// Milliseconds between repetitions; 0 for none.
        timelimit: u32,
    };
    /// Which changes will be told.
    NotifyAck = DL_NOTIFY_ACK 0x101 Proto {
        /// DL_NOTE_* bits.
        notifications: u32,
    };
    /// A change.
    NotifyInd = DL_NOTIFY_IND 0x102 Proto {
        /// One DL_NOTE_* bit.
        notification: u32,
        /// The new value, if it is a number.
        data: u32,
        /// The new value, if it is an address.
        addr: Vec<u8>,
    };
    /// Adds a port to an aggregation.
    AggrReq = DL_AGGR_REQ 0x103 Proto {
        /// The aggregation.
        key: u32,
        /// The port.
        port: u32,
        /// Its address.
        addr: Vec<u8>,
    };
    /// An aggregation changed.
    AggrInd = DL_AGGR_IND 0x104 Proto {
        /// The aggregation.
        key: u32,
        /// The port.
        port: u32,
        /// Its address.
        addr: Vec<u8>,
    };
    /// Takes a port from an aggregation.
    UnaggrReq = DL_UNAGGR_REQ 0x105 Proto {
        /// The aggregation.
        key: u32,
        /// The port.
        port: u32,
        /// Its address.
        addr: Vec<u8>,
    };
    /// Negotiates capabilities.
    CapabilityReq = DL_CAPABILITY_REQ 0x110 Proto {
        /// The list.
        sub: OffLen,
    };
    /// The capabilities agreed on.
    CapabilityAck = DL_CAPABILITY_ACK 0x111 Proto {
        /// The list.
        sub: OffLen,
    };
    /// Controls hardware offload.
    ControlReq = DL_CONTROL_REQ 0x112 Proto {
        /// What to do.
        operation: u32,
        /// Of what kind.
        kind: u32,
        /// To which entry.
        key: OffLen,
        /// With what.
        data: OffLen,
    };
    /// It was done.
    ControlAck = DL_CONTROL_ACK 0x113 Proto {
        /// What was done.
        operation: u32,
        /// Of what kind.
        kind: u32,
        /// To which entry.
        key: OffLen,
        /// With what.
        data: OffLen,
    };
    /// The stream will not use the link actively.
    PassiveReq = DL_PASSIVE_REQ 0x114 Proto;
    /// Interrupt or polling mode.
    IntrModeReq = DL_INTR_MODE_REQ 0x115 Proto;
}

impl Prim {
    /// The value of a message's first block. A block shorter than its structure or an
    /// unknown number is DL_BADPRIM, an address outside the block DL_BADADDR.
    pub fn parse(mp: &Msg) -> Result<Prim, DlError> {
        Prim::parse_bytes(mp.rd())
    }

    /// The same from the bytes, such as the control part that getmsg(2) returns.
    pub fn parse_bytes(block: &[u8]) -> Result<Prim, DlError> {
        let mut r = Reader::new(block);
        let number = r.word()?;
        Prim::decode(number, &mut r)
    }

    /// A fresh message with this primitive.
    pub fn emit(&self) -> Msg {
        Msg::of(self.msg_type(), &self.encode())
    }

    /// The bytes, such as putmsg(2) takes as control part.
    pub fn emit_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// `dl_primitive` of a block, if it is long enough to have one.
    #[inline]
    pub fn number_of(block: &[u8]) -> Option<u32> {
        block.first_chunk::<4>().map(|b| u32::from_ne_bytes(*b))
    }

    /// M_PROTO or M_PCPROTO.
    pub fn msg_type(&self) -> MsgType {
        let n = self.number();
        Prim::ALL
            .iter()
            .find(|p| p.0 == n)
            .map_or(MsgType::Proto, |p| p.2)
    }

    /// The name in sys/dlpi.h.
    pub fn name(&self) -> &'static str {
        Prim::name_of(self.number())
    }

    /// The name of a number; `DL_?` if it has none.
    pub fn name_of(number: u32) -> &'static str {
        Prim::ALL
            .iter()
            .find(|p| p.0 == number)
            .map_or("DL_?", |p| p.1)
    }

    /// DL_OK_ACK for a request.
    pub fn ok_ack(number: u32) -> Prim {
        Prim::OkAck {
            correct_primitive: number,
        }
    }

    /// DL_ERROR_ACK for a request.
    pub fn error_ack(number: u32, e: impl Into<DlError>) -> Prim {
        let e = e.into();
        Prim::ErrorAck {
            error_primitive: number,
            errno: e.errno.0,
            unix_errno: e.unix as u32,
        }
    }

    /// DL_BIND_REQ for connectionless service.
    pub fn bind(sap: u32) -> Prim {
        let service_mode = DL_CLDLS as u16;
        Prim::BindReq {
            sap,
            max_conind: 0,
            service_mode,
            conn_mgmt: 0,
            xidtest_flg: 0,
        }
    }
}

#[cfg(test)]
mod tests;

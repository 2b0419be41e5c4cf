//! Codes of a Registration Reply.
//!
//! Spec: RFC 5944 3.4; RFC 3024 3.4 (74 to 76, 137 to 139 belong to reverse tunnels).

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        $($(#[$doc])* pub const $name: u8 = $n;)*

        /// What a code says.
        pub fn text(code: u8) -> &'static str {
            match code {
                $($n => $text,)*
                _ => "a code of no RFC known here",
            }
        }
    };
}

codes! {
    /// Accepted.
    ACCEPTED = 0, "accepted";
    /// Accepted, but simultaneous bindings are not served.
    ACCEPTED_ALONE = 1, "accepted, without simultaneous bindings";
    /// Foreign agent: reason unspecified.
    FA_UNSPECIFIED = 64, "foreign agent: reason unspecified";
    /// Foreign agent: administratively prohibited.
    FA_PROHIBITED = 65, "foreign agent: administratively prohibited";
    /// Foreign agent: insufficient resources.
    FA_RESOURCES = 66, "foreign agent: insufficient resources";
    /// The mobile node failed authentication at the foreign agent.
    FA_MN_AUTHENTICATION = 67, "foreign agent: mobile node failed authentication";
    /// The home agent failed authentication at the foreign agent.
    FA_HA_AUTHENTICATION = 68, "foreign agent: home agent failed authentication";
    /// The lifetime asked for is too long.
    FA_LIFETIME = 69, "foreign agent: requested lifetime too long";
    /// Poorly formed request.
    FA_REQUEST = 70, "foreign agent: poorly formed request";
    /// Poorly formed reply.
    FA_REPLY = 71, "foreign agent: poorly formed reply";
    /// Encapsulation unavailable.
    FA_ENCAPSULATION = 72, "foreign agent: requested encapsulation unavailable";
    /// Reverse tunnel unavailable.
    FA_REVERSE = 74, "foreign agent: requested reverse tunnel unavailable";
    /// A reverse tunnel is mandatory.
    FA_REVERSE_MANDATORY = 75, "foreign agent: reverse tunnel is mandatory";
    /// The mobile node is not on the link.
    FA_DISTANT = 76, "foreign agent: mobile node too distant";
    /// Invalid care-of address.
    FA_CARE_OF = 77, "foreign agent: invalid care-of address";
    /// The home agent did not answer in time.
    FA_TIMEOUT = 78, "foreign agent: registration timeout";
    /// Delivery style not supported.
    FA_DELIVERY = 79, "foreign agent: delivery style not supported";
    /// Home network unreachable.
    HOME_NETWORK = 80, "home network unreachable";
    /// Home agent host unreachable.
    HOME_HOST = 81, "home agent host unreachable";
    /// Home agent port unreachable.
    HOME_PORT = 82, "home agent port unreachable";
    /// Home agent unreachable.
    HOME_OTHER = 88, "home agent unreachable";
    /// Home agent: reason unspecified.
    UNSPECIFIED = 128, "home agent: reason unspecified";
    /// Home agent: administratively prohibited.
    PROHIBITED = 129, "home agent: administratively prohibited";
    /// Home agent: insufficient resources.
    RESOURCES = 130, "home agent: insufficient resources";
    /// The mobile node failed authentication.
    AUTHENTICATION = 131, "home agent: mobile node failed authentication";
    /// The foreign agent failed authentication.
    FOREIGN_AUTHENTICATION = 132, "home agent: foreign agent failed authentication";
    /// Registration identification mismatch.
    IDENTIFICATION = 133, "home agent: registration identification mismatch";
    /// Poorly formed request.
    MALFORMED = 134, "home agent: poorly formed request";
    /// Too many simultaneous bindings.
    TOO_MANY = 135, "home agent: too many simultaneous mobility bindings";
    /// Unknown home agent address.
    UNKNOWN_AGENT = 136, "home agent: unknown home agent address";
    /// Reverse tunnel unavailable.
    REVERSE_TUNNEL = 137, "home agent: requested reverse tunnel unavailable";
    /// A reverse tunnel is mandatory.
    REVERSE_MANDATORY = 138, "home agent: reverse tunnel is mandatory";
    /// Encapsulation unavailable.
    ENCAPSULATION = 139, "home agent: requested encapsulation unavailable";
}

/// Does the code accept?
pub fn accepts(code: u8) -> bool {
    code <= ACCEPTED_ALONE
}

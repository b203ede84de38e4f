//! Text from the wire and to it.

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

/// Text of a request, kept without the frame that it came in.
pub(super) fn shared(text: &StrBytes) -> Arc<str> {
    Arc::from(text.as_str())
}

/// The same where it may be null.
pub(super) fn shared_option(text: Option<&StrBytes>) -> Option<Arc<str>> {
    text.map(shared)
}

/// Text for a response.
pub(super) fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The same where it may be null.
pub(super) fn wire_option(text: Option<&Arc<str>>) -> Option<StrBytes> {
    text.map(|text| wire(text))
}

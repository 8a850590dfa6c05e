//! Events of oddline's own as JSON objects, before the fields.

use serde_json::{Map, Value as Json};

use crate::engine::Synthetic;
use crate::plugin::component::{synthetic_message, synthetic_values};
use crate::plugin::event::Layout;
use crate::plugin::timestamp;

/// The object with the message, the time and what names its stream where `layout` says that events have them. Where one is in another's way, it has the one
/// that comes first of these.
pub(super) fn object(synthetic: &Synthetic, layout: &Layout) -> Vec<u8> {
    let mut object = Map::new();
    put(&mut object, layout.message.segments(), synthetic_message(synthetic));
    put(&mut object, layout.timestamp.segments(), timestamp::format(synthetic.timestamp));
    for (path, value) in synthetic_values(synthetic, layout) {
        put(&mut object, path.segments(), value.to_owned());
    }
    Json::Object(object).to_string().into_bytes()
}

fn put(object: &mut Map<String, Json>, names: &[String], text: String) {
    let Some((name, rest)) = names.split_first() else { return };
    if rest.is_empty() {
        object.entry(name).or_insert(Json::String(text));
    } else if let Json::Object(inner) = object.entry(name).or_insert_with(|| Json::Object(Map::new())) {
        put(inner, rest, text);
    }
}

//! The types of the fields that are added, for Vector's schemas: what a `remap` behind the transform is checked against.

use oddline::config::{Config, Fields, OnExisting};
use oddline::plugin::fields::{FIELDS, Field, Kind as FieldKind, When};
use oddline::plugin::Path;
use vector_lib::lookup::OwnedValuePath;
use vector_lib::lookup::owned_value_path;
use vector_lib::schema::Definition;
use vector_lib::vrl::value::Kind;
use vector_lib::vrl::value::kind::Collection;

/// `definition` with the fields in it: in the event where that is a map, in its metadata where it is not.
pub(crate) fn with_fields(definition: Definition, config: &Config) -> Definition {
    let Ok(target) = Path::parse(&config.target) else { return definition };
    let mut definition = definition;
    let flat = config.template_field.as_ref().map(|name| owned_value_path!(name.as_str()));
    let path = OwnedValuePath::from(target.segments().iter().map(|name| vector_lib::vrl::path::OwnedSegment::field(name)).collect::<Vec<_>>());
    let added = |kind: &Kind, path: &OwnedValuePath, new: Kind| {
        let old = kind.at_path(path);
        if config.on_existing == OnExisting::Keep { new.union(old.without_undefined()) } else { new }
    };
    let event = definition.event_kind().clone();
    let is_whole = !is_always_map(&event);
    if event.contains_object() {
        let kind = maybe(added(&event, &path, object(config.fields)), is_whole);
        definition = definition.with_event_field(&path, kind, None);
        if let Some(flat) = &flat {
            let kind = added(&event, flat, Kind::bytes()).or_undefined();
            definition = definition.with_event_field(flat, kind, None);
        }
    }
    if is_whole {
        let metadata = definition.metadata_kind().clone();
        let kind = maybe(added(&metadata, &path, object(config.fields)), event.contains_object());
        definition = definition.with_metadata_field(&path, kind, None);
        if let Some(flat) = &flat {
            let kind = added(&metadata, flat, Kind::bytes()).or_undefined();
            definition = definition.with_metadata_field(flat, kind, None);
        }
    }
    definition
}

fn is_always_map(kind: &Kind) -> bool {
    kind.contains_object() && kind.without_object().is_never()
}

fn maybe(kind: Kind, is_unsure: bool) -> Kind {
    if is_unsure { kind.or_undefined() } else { kind }
}

/// The object under the target.
fn object(detail: Fields) -> Kind {
    let known = FIELDS
        .iter()
        .filter(|field| field.when.applies(detail, true))
        .map(|field| (field.name.into(), kind(field)))
        .collect();
    Kind::object(Collection::from_parts(known, Kind::undefined()))
}

fn kind(field: &Field) -> Kind {
    let kind = match field.kind {
        FieldKind::Number | FieldKind::Share => Kind::float(),
        FieldKind::Flag => Kind::boolean(),
        FieldKind::Text => Kind::bytes(),
        FieldKind::Texts => Kind::array(Collection::from_unknown(Kind::bytes())),
        FieldKind::Numbers => Kind::object(Collection::from_unknown(Kind::float())),
    };
    // An event without a message has no template, and most fields come with some events only.
    maybe(kind, field.when != When::Minimal || !field.condition.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(definition: &Definition, path: &str) -> Kind {
        definition.kind_at(&vector_lib::vrl::path::parse_target_path(path).unwrap())
    }

    #[test]
    fn a_map_gets_the_fields_in_the_event() {
        let definition = with_fields(Definition::default_legacy_namespace(), &Config::default());
        assert_eq!(at(&definition, "anomaly.score"), Kind::float());
        assert_eq!(at(&definition, "anomaly.is_anomaly"), Kind::boolean());
        assert_eq!(at(&definition, "anomaly.template"), Kind::bytes().or_undefined());
    }

    #[test]
    fn a_text_gets_them_in_its_metadata() {
        let namespaces = [vector_lib::config::LogNamespace::Vector];
        let text = Definition::new_with_default_metadata(Kind::bytes(), namespaces);
        let definition = with_fields(text, &Config::default());
        assert_eq!(*definition.event_kind(), Kind::bytes());
        assert_eq!(at(&definition, "%anomaly.score"), Kind::float());
    }

    #[test]
    fn minimal_fields_are_three_and_what_is_kept_has_its_old_type_too() {
        let config = Config { fields: Fields::Minimal, on_existing: OnExisting::Keep, ..Config::default() };
        let old = Definition::empty_legacy_namespace().with_event_field(&owned_value_path!("anomaly"), Kind::integer(), None);
        let definition = with_fields(old, &config);
        assert!(at(&definition, "anomaly").contains_integer());
        assert!(at(&definition, "anomaly").contains_object());
        let fresh = with_fields(Definition::empty_legacy_namespace(), &config);
        assert_eq!(at(&fresh, "anomaly.template"), Kind::undefined());
    }
}

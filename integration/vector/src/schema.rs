//! The types of the fields that are added, for Vector's schemas: what a `remap` behind the transform is checked against.

use oddline::config::{Config, Fields, OnExisting};
use oddline::plugin::Path;
use oddline::plugin::fields::{FIELDS, Field, Kind as FieldKind, Part, When};
use vector_lib::lookup::{OwnedTargetPath, OwnedValuePath, PathPrefix};
use vector_lib::schema::Definition;
use vector_lib::vrl::path::OwnedSegment;
use vector_lib::vrl::value::Kind;
use vector_lib::vrl::value::kind::Collection;

/// `definition` with the fields in it: in the event where that is a map, in its metadata where it is not.
pub(crate) fn with_fields(definition: Definition, config: &Config) -> Definition {
    let event = definition.event_kind().clone();
    let (may_be_map, may_be_whole) = (event.contains_object(), !is_always_map(&event));
    let mut definition = definition;
    if may_be_map {
        definition = added(definition, PathPrefix::Event, config, may_be_whole);
    }
    if may_be_whole {
        definition = added(definition, PathPrefix::Metadata, config, may_be_map);
    }
    definition
}

/// The definition with the fields on one side of the event.
fn added(definition: Definition, prefix: PathPrefix, config: &Config, is_unsure: bool) -> Definition {
    // What is wrong with the target is for `validate` to say.
    let Ok(target) = Path::parse(&config.target) else { return definition };
    let path = |names: &[String]| {
        let path = OwnedValuePath::from(names.iter().map(|name| OwnedSegment::field(name)).collect::<Vec<_>>());
        OwnedTargetPath { prefix, path }
    };
    let with = |definition: Definition, path: OwnedTargetPath, kind: Kind, is_unsure: bool| {
        let old = definition.kind_at(&path).without_undefined();
        let is_kept = config.on_existing == OnExisting::Keep && !old.is_never();
        let kind = if is_kept { kind.union(old) } else { kind };
        definition.with_field(&path, maybe(kind, is_unsure), None)
    };
    let definition = with(definition, path(target.segments()), object(config.fields), is_unsure);
    match &config.template_field {
        // Events without a message have no template.
        Some(name) => with(definition, path(std::slice::from_ref(name)), Kind::bytes(), true),
        None => definition,
    }
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
        FieldKind::Maps(parts) => Kind::array(Collection::from_unknown(map(parts))),
    };
    // An event without a message has no template, and most fields come with some events only.
    maybe(kind, field.when != When::Minimal || !field.condition.is_empty())
}

fn map(parts: &[Part]) -> Kind {
    let kind = |part: &Part| match part.kind {
        FieldKind::Share => Kind::float(),
        _ => Kind::bytes(),
    };
    let known = parts.iter().map(|part| (part.name.into(), maybe(kind(part), !part.is_required))).collect();
    Kind::object(Collection::from_parts(known, Kind::undefined()))
}

#[cfg(test)]
mod tests {
    use vector_lib::lookup::owned_value_path;

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
        let old =
            Definition::empty_legacy_namespace().with_event_field(&owned_value_path!("anomaly"), Kind::integer(), None);
        let definition = with_fields(old, &config);
        assert!(at(&definition, "anomaly").contains_integer());
        assert!(at(&definition, "anomaly").contains_object());
        let fresh = with_fields(Definition::empty_legacy_namespace(), &config);
        assert_eq!(at(&fresh, "anomaly.template"), Kind::undefined());
    }
}

//! Lines into a small store: each is found again, and its template and parts give it back. What the lane finds alone is what the store finds, and each fast
//! path is compared with its naive twin at every call (`cfg(fuzzing)` in the crate).

#![no_main]

use libfuzzer_sys::fuzz_target;
use oddline::detect::severity::Severity;
use oddline::template::explain::Outcome;
use oddline::template::{LaneMatcher, TemplateOptions, TemplateStore};

fuzz_target!(|data: &[u8]| {
    let options = TemplateOptions { max_templates: 8, merge_after: 3, max_bytes: 4_096, ..TemplateOptions::default() };
    let mut store = TemplateStore::new(options.clone());
    let mut matcher = LaneMatcher::new(&store);
    for line in data.split(|byte| *byte == b'\n') {
        let found = matcher.find(line).unwrap_or_else(|| {
            let learned = store.learn(matcher.skeleton(), line);
            matcher.remember(learned)
        });
        let Some(template) = store.by_id(found.id) else { panic!("a template just met is not known") };
        let rebuilt = matcher.parts(line, found.slot, &store).rebuild(&template.text);
        assert_eq!(rebuilt.as_deref(), Some(line));
        let found_id = found.id.to_string();
        match matcher.explain(line, &store).outcome {
            Outcome::SameSkeleton(met) | Outcome::Generalised(met) => assert_eq!(met.template_id, found_id),
            _ => panic!("the store does not know what the lane knows"),
        }
        let _ = Severity::of_template(&template.text);
        assert!(store.len() <= 8);
    }
    let mut image = Vec::new();
    store.checkpoint(&mut image);
    assert!(TemplateStore::restore(options.clone(), &image).is_ok());
    drop(TemplateStore::restore(options, data));
});

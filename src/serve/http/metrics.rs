//! Figures as Prometheus reads them (text format 0.0.4).

use std::fmt::Write as _;

use crate::engine::Stats as EngineStats;
use crate::event::State;
use crate::plugin::ComponentStats;
use crate::serve::stats::Counted;

/// The content type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole text.
pub(super) fn text(component: Option<&ComponentStats>, counted: &Counted) -> String {
    let mut text = String::new();
    for (name, value, help) in counted.iter() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP oddline_serve_{name} {}", help.trim());
        metric(&mut text, &format!("oddline_serve_{name}"), "counter", value);
    }
    if let Some(component) = component {
        for (name, value) in component.counts.iter() {
            metric(&mut text, &format!("oddline_{name}"), "counter", value);
        }
        for (name, value) in component.gauges() {
            metric(&mut text, &format!("oddline_{name}"), "gauge", value);
        }
        if let Some(engine) = &component.engine {
            storage(&mut text, engine);
        }
    }
    text
}

fn metric(text: &mut String, name: &str, kind: &str, value: u64) {
    let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
}

fn storage(text: &mut String, engine: &EngineStats) {
    metric(text, "oddline_storage_errors_total", "counter", engine.storage_errors_total);
    let _ = writeln!(text, "# TYPE oddline_state gauge");
    for state in [State::Learning, State::Ready, State::Degraded].map(State::as_str) {
        let _ = writeln!(text, "oddline_state{{state=\"{state}\"}} {}", u8::from(engine.state == state));
    }
}

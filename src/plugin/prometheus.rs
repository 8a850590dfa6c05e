//! Figures as Prometheus reads them (text format 0.0.4).

use std::fmt::Write as _;

use super::component::ComponentStats;
use crate::engine::Stats as EngineStats;
use crate::event::State;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A component's figures, each called `oddline_…`.
pub fn text(component: &ComponentStats) -> String {
    let mut text = String::new();
    for (name, value) in component.counts.iter() {
        metric(&mut text, &format!("oddline_{name}"), "counter", value);
    }
    for (name, value) in component.gauges() {
        metric(&mut text, &format!("oddline_{name}"), "gauge", value);
    }
    if let Some(engine) = &component.engine {
        storage(&mut text, engine);
    }
    text
}

/// Appends one figure.
pub fn metric(text: &mut String, name: &str, kind: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
}

fn storage(text: &mut String, engine: &EngineStats) {
    metric(text, "oddline_storage_errors_total", "counter", engine.storage_errors_total);
    metric(text, "oddline_rate_series_evicted_total", "counter", engine.rate_series_evicted_total);
    metric(text, "oddline_silence_series_evicted_total", "counter", engine.silence_series_evicted_total);
    metric(text, "oddline_stream_orders_evicted_total", "counter", engine.stream_orders_evicted_total);
    let _ = writeln!(text, "# TYPE oddline_state gauge");
    for state in [State::Learning, State::Ready, State::Degraded].map(State::as_str) {
        let _ = writeln!(text, "oddline_state{{state=\"{state}\"}} {}", u8::from(engine.state == state));
    }
}

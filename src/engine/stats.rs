//! Figures about an engine.

use std::sync::atomic::Ordering;

use serde::Serialize;

use super::core::Core;
use super::embedders::EmbedderStats;
use crate::event::{State, TemplateId, Timestamp};
use crate::storage::journal::Status;

/// What an engine is and holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// Events scored, over all runs of the data dir; folded in at each tick.
    pub events_total: u64,
    /// Events that were anomalies, over all runs of the data dir.
    pub incidents_total: u64,
    /// `learning`, `ready` or `degraded`.
    pub state: &'static str,
    /// Templates known.
    pub templates: u64,
    /// Templates merged into others.
    pub templates_merged_total: u64,
    /// Templates evicted at `max_templates`.
    pub templates_evicted_total: u64,
    /// Counts of a template on one stream that went in this run, since there is room for 8,192 a lane: its bursts there are told anew once it is known again.
    pub rate_series_evicted_total: u64,
    /// Gaps of a template on one stream, likewise: it is no silence there until it is regular again.
    pub silence_series_evicted_total: u64,
    /// Streams of which it is forgotten where they were in their order, likewise.
    pub stream_orders_evicted_total: u64,
    /// How often the data dir was opened.
    pub run: u32,
    /// Bytes of the write-ahead log on disk.
    pub wal_bytes: u64,
    /// Bytes of the write-ahead log that a power cut now would lose.
    pub wal_unsynced_bytes: u64,
    /// Seconds since the oldest of them was handed over: how much time a power cut now would lose. 0 when all is synced. With `durability:
    /// interval` it stays below `flush_interval_ms` unless the disk, or the turn of a thread, is late; beyond five intervals a warning is logged.
    pub wal_sync_lag_seconds: f64,
    /// Bytes of the whole data dir.
    pub disk_bytes: u64,
    /// Bytes of templates, counts, windows and models, about; of the models, as of the last checkpoint.
    pub memory_bytes: u64,
    /// Checkpoints written by this run.
    pub checkpoints_total: u64,
    /// Files of the history (L1) written by this run.
    pub chunks_total: u64,
    /// Hours of the history merged (into L2) by this run.
    pub merges_total: u64,
    /// Windows sealed by this run.
    pub windows_sealed_total: u64,
    /// Events of this run that windows had no memory for; the log and the history have them.
    pub window_dropped_events_total: u64,
    /// Bytes of the history on disk.
    pub history_bytes: u64,
    /// Events of this run that the history counts and does not hold, since it is at `max_disk_bytes`.
    pub history_dropped_events_total: u64,
    /// Bytes of log that could not be kept in this run.
    pub wal_dropped_bytes_total: u64,
    /// Failed storage operations in this run.
    pub storage_errors_total: u64,
    /// The failure persistence has not recovered from.
    pub failure: Option<String>,
    /// Why the baseline that is configured could not be had when this engine was opened.
    pub baseline_failure: Option<String>,
    /// What makes vectors of templates.
    pub embedder: EmbedderStats,
    /// The journal of incidents; none where there is none.
    pub journal: Option<JournalStats>,
}

/// The journal of incidents in this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalStats {
    /// Incidents in memory that are not written.
    pub queued: u64,
    /// Incidents that are lost: there was no room for them, or nowhere to write them by the end.
    pub dropped_total: u64,
    /// Objects the store took.
    pub stored_total: u64,
    /// Objects that had to wait on disk for the store.
    pub spooled_total: u64,
    /// What the store said the last time, when it failed and has not worked since.
    pub failure: Option<String>,
    /// What the spool said the last time, when it failed and has not worked since, or the damage that was found in it last.
    pub spool_failure: Option<String>,
}

impl From<Status> for JournalStats {
    fn from(status: Status) -> Self {
        let Status { queued, dropped_total, stored_total, spooled_total, failure, spool_failure } = status;
        Self { queued, dropped_total, stored_total, spooled_total, failure, spool_failure }
    }
}

/// One template and how often it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSummary {
    /// Its id.
    pub id: TemplateId,
    /// Ids of templates that were merged into it: events scored earlier may carry them.
    pub aliases: Vec<TemplateId>,
    /// Its text.
    pub text: String,
    /// Events of it.
    pub count: u64,
    /// Time of the first, to the precision of a tick.
    pub first_seen: Timestamp,
    /// Time of the last, to the precision of a tick.
    pub last_seen: Timestamp,
}

impl Core {
    pub(super) fn stats(&self) -> Stats {
        let (templates, (merged, evicted), store_bytes) = {
            let store = self.store();
            (store.len() as u64, store.totals(), store.memory_bytes() as u64)
        };
        let (events_total, incidents_total, learned, picture_bytes) = {
            let picture = self.picture();
            (picture.events_total, picture.incidents_total, picture.state, picture.memory_bytes() as u64)
        };
        let state = if self.is_degraded() { State::Degraded } else { learned };
        let windows = self.windows.figures();
        let gauge = |gauge: &std::sync::atomic::AtomicU64| gauge.load(Ordering::Relaxed);
        Stats {
            events_total,
            incidents_total,
            state: state.as_str(),
            templates,
            templates_merged_total: merged,
            templates_evicted_total: evicted,
            rate_series_evicted_total: gauge(&self.gauges.rate_series_evicted_total),
            silence_series_evicted_total: gauge(&self.gauges.silence_series_evicted_total),
            stream_orders_evicted_total: gauge(&self.gauges.stream_orders_evicted_total),
            run: self.run,
            wal_bytes: gauge(&self.gauges.wal_bytes),
            wal_unsynced_bytes: gauge(&self.gauges.wal_unsynced_bytes),
            wal_sync_lag_seconds: self.sync_lag().as_secs_f64(),
            disk_bytes: gauge(&self.gauges.disk_bytes),
            memory_bytes: store_bytes
                + picture_bytes
                + windows.bytes
                + gauge(&self.gauges.lane_bytes)
                + self.recall().memory_bytes() as u64,
            checkpoints_total: gauge(&self.gauges.checkpoints_total),
            chunks_total: gauge(&self.gauges.chunks_total),
            merges_total: gauge(&self.gauges.merges_total),
            windows_sealed_total: windows.sealed_total,
            window_dropped_events_total: windows.dropped_total,
            history_bytes: gauge(&self.gauges.history_bytes),
            history_dropped_events_total: gauge(&self.gauges.history_dropped_events_total),
            wal_dropped_bytes_total: gauge(&self.gauges.wal_dropped_bytes_total),
            storage_errors_total: gauge(&self.gauges.storage_errors_total),
            failure: self.failure(),
            baseline_failure: None,
            embedder: EmbedderStats::of(&self.config),
            journal: None,
        }
    }

    pub(super) fn template_summaries(&self) -> Vec<TemplateSummary> {
        let store = self.store();
        let mut picture = self.picture();
        picture.tidy(&store);
        let summary = |template: &crate::template::StoredTemplate| {
            let count = picture.templates.get(&template.id).copied().unwrap_or_default();
            TemplateSummary {
                id: template.id,
                aliases: template.aliases.clone(),
                text: store.shown(template),
                count: count.count,
                first_seen: count.first_seen,
                last_seen: count.last_seen,
            }
        };
        store.templates().map(summary).collect()
    }
}

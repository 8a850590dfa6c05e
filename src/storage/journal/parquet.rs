//! An object as Apache Parquet: one row group, pages compressed with Snappy, columns in the order of [`Incident`], but for its `detectors`, which stand last.
//!
//! | column | type |
//! |---|---|
//! | texts | `BYTE_ARRAY (STRING)`, optional where [`Incident`] has an `Option` |
//! | `time` | `INT64 (TIMESTAMP, microseconds, UTC)` |
//! | `score`, `p_value`, `observed` | `DOUBLE` |
//! | `reasons`, `parameters` | `LIST` of `STRING`, three levels |
//! | `synthetic` | `BOOLEAN` |
//! | `detector_…`, one a detector | `FLOAT` |
//!
//! The whole object has a checksum in its key. A reader that goes by columns' names reads objects with more or fewer of them: that is why detectors are columns
//! and not fields of one, since readers that unite columns of files of several ages do not all unite fields. A new column is added behind the last.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::{Field, List, Row};
use parquet::schema::parser::parse_message_type;

use super::format::FormatError;
use super::incident::{Detectors, Incident, parse_time, time_text};
use crate::event::Timestamp;

/// What columns of detectors begin with.
const DETECTOR: &str = "detector_";

fn damaged(error: impl std::fmt::Display) -> FormatError {
    FormatError::Damaged { reason: error.to_string() }
}

fn schema() -> String {
    let list = |name: &str| {
        format!("REQUIRED GROUP {name} (LIST) {{ REPEATED GROUP list {{ REQUIRED BYTE_ARRAY element (STRING); }} }}")
    };
    let detectors: String =
        Detectors::default().iter().map(|(name, _)| format!("REQUIRED FLOAT {DETECTOR}{name}; ")).collect();
    format!(
        "message incident {{
            REQUIRED BYTE_ARRAY event_id (STRING);
            REQUIRED INT64 time (TIMESTAMP(MICROS,true));
            REQUIRED BYTE_ARRAY stream (STRING);
            REQUIRED DOUBLE score;
            REQUIRED DOUBLE p_value;
            {}
            REQUIRED BYTE_ARRAY template_id (STRING);
            REQUIRED BYTE_ARRAY template (STRING);
            OPTIONAL BYTE_ARRAY message (STRING);
            OPTIONAL BYTE_ARRAY message_hash (STRING);
            {}
            OPTIONAL BYTE_ARRAY odd_parameter (STRING);
            OPTIONAL BYTE_ARRAY expected (STRING);
            OPTIONAL DOUBLE observed;
            OPTIONAL BYTE_ARRAY rule (STRING);
            REQUIRED BOOLEAN synthetic;
            {}
        }}",
        list("reasons"),
        list("parameters"),
        detectors
    )
}

/// The bytes of an object.
pub(super) fn encode(incidents: &[Incident]) -> Result<Vec<u8>, FormatError> {
    write(incidents).map_err(damaged)
}

fn write(incidents: &[Incident]) -> Result<Vec<u8>, ParquetError> {
    let schema = Arc::new(parse_message_type(&schema())?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    if !incidents.is_empty() {
        let mut group = file.next_row_group()?;
        write_columns(&mut Columns { group: &mut group, rows: incidents })?;
        group.close()?;
    }
    file.into_inner()
}

/// In the order of the schema.
fn write_columns(columns: &mut Columns<'_, '_>) -> Result<(), ParquetError> {
    columns.text(|row| &row.event_id)?;
    columns.put(|rows, column| {
        let micros = |row: &Incident| parse_time(&row.time).unwrap_or_default().0;
        let ColumnWriter::Int64ColumnWriter(writer) = column else { return mismatch() };
        writer.write_batch(&rows.iter().map(micros).collect::<Vec<_>>(), None, None)
    })?;
    columns.text(|row| &row.stream)?;
    columns.double(|row| row.score)?;
    columns.double(|row| row.p_value)?;
    columns.texts(|row| &row.reasons)?;
    columns.text(|row| &row.template_id)?;
    columns.text(|row| &row.template)?;
    columns.optional_text(|row| row.message.as_deref())?;
    columns.optional_text(|row| row.message_hash.as_deref())?;
    columns.texts(|row| &row.parameters)?;
    columns.optional_text(|row| row.odd_parameter.as_deref())?;
    columns.optional_text(|row| row.expected.as_deref())?;
    columns.put(|rows, column| {
        let ColumnWriter::DoubleColumnWriter(writer) = column else { return mismatch() };
        let values: Vec<f64> = rows.iter().filter_map(|row| row.observed).collect();
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.observed.is_some())).collect();
        writer.write_batch(&values, Some(&levels), None)
    })?;
    columns.optional_text(|row| row.rule.as_deref())?;
    columns.put(|rows, column| {
        let ColumnWriter::BoolColumnWriter(writer) = column else { return mismatch() };
        writer.write_batch(&rows.iter().map(|row| row.synthetic).collect::<Vec<_>>(), None, None)
    })?;
    Detectors::default().iter().try_for_each(|(name, _)| {
        columns.put(|rows, column| {
            let of = |row: &Incident| row.detectors.iter().find(|(own, _)| *own == name).map_or(0.0, |(_, nats)| nats);
            let ColumnWriter::FloatColumnWriter(writer) = column else { return mismatch() };
            writer.write_batch(&rows.iter().map(of).collect::<Vec<_>>(), None, None)
        })
    })
}

fn mismatch() -> Result<usize, ParquetError> {
    Err(ParquetError::General("the columns do not follow the schema".to_owned()))
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}

/// Columns of a row group, written one after another.
struct Columns<'g, 'r> {
    group: &'g mut SerializedRowGroupWriter<'r, Vec<u8>>,
    rows: &'g [Incident],
}

impl Columns<'_, '_> {
    fn put(
        &mut self,
        write: impl FnOnce(&[Incident], &mut ColumnWriter<'_>) -> Result<usize, ParquetError>,
    ) -> Result<(), ParquetError> {
        let Some(mut column) = self.group.next_column()? else { return mismatch().map(drop) };
        write(self.rows, column.untyped())?;
        column.close()
    }

    fn text(&mut self, of: impl Fn(&Incident) -> &String) -> Result<(), ParquetError> {
        self.put(|rows, column| {
            let ColumnWriter::ByteArrayColumnWriter(writer) = column else { return mismatch() };
            writer.write_batch(&rows.iter().map(|row| text(of(row))).collect::<Vec<_>>(), None, None)
        })
    }

    fn double(&mut self, of: impl Fn(&Incident) -> f64) -> Result<(), ParquetError> {
        self.put(|rows, column| {
            let ColumnWriter::DoubleColumnWriter(writer) = column else { return mismatch() };
            writer.write_batch(&rows.iter().map(of).collect::<Vec<_>>(), None, None)
        })
    }

    fn optional_text(&mut self, of: impl Fn(&Incident) -> Option<&str>) -> Result<(), ParquetError> {
        self.put(|rows, column| {
            let ColumnWriter::ByteArrayColumnWriter(writer) = column else { return mismatch() };
            let values: Vec<ByteArray> = rows.iter().filter_map(&of).map(text).collect();
            let levels: Vec<i16> = rows.iter().map(|row| i16::from(of(row).is_some())).collect();
            writer.write_batch(&values, Some(&levels), None)
        })
    }

    /// A list of three levels: an empty one is a definition level of 0.
    fn texts(&mut self, of: impl Fn(&Incident) -> &Vec<String>) -> Result<(), ParquetError> {
        self.put(|rows, column| {
            let ColumnWriter::ByteArrayColumnWriter(writer) = column else { return mismatch() };
            let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
            for row in rows {
                if of(row).is_empty() {
                    defined.push(0);
                    repeated.push(0);
                }
                for (at, item) in of(row).iter().enumerate() {
                    values.push(text(item));
                    defined.push(1);
                    repeated.push(i16::from(at > 0));
                }
            }
            writer.write_batch(&values, Some(&defined), Some(&repeated))
        })
    }
}

/// The incidents in an object.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Incident>, FormatError> {
    // Bytes that are no Parquet can make the decoder panic: its checksum says that they are ours, unless somebody forged it.
    catch_unwind(AssertUnwindSafe(|| read(bytes))).unwrap_or_else(|_| Err(damaged("the decoder gave up")))
}

fn read(bytes: &[u8]) -> Result<Vec<Incident>, FormatError> {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(damaged)?;
    let rows = reader.get_row_iter(None).map_err(damaged)?;
    rows.map(|row| row.map_err(damaged).and_then(|row| incident(&row))).collect()
}

fn incident(row: &Row) -> Result<Incident, FormatError> {
    let mut incident = Incident::default();
    for (name, field) in row.get_column_iter() {
        set(&mut incident, name, field);
    }
    if incident.event_id.is_empty() { Err(damaged("a row has no event_id")) } else { Ok(incident) }
}

/// Sets a column of an incident; one of another name or type is passed over.
fn set(incident: &mut Incident, name: &str, field: &Field) {
    match (name, field) {
        ("event_id", Field::Str(text)) => incident.event_id.clone_from(text),
        ("time", Field::TimestampMicros(micros) | Field::Long(micros)) => incident.time = time_text(Timestamp(*micros)),
        ("stream", Field::Str(text)) => incident.stream.clone_from(text),
        ("score", Field::Double(number)) => incident.score = *number,
        ("p_value", Field::Double(number)) => incident.p_value = *number,
        ("reasons", Field::ListInternal(list)) => incident.reasons = texts(list),
        ("template_id", Field::Str(text)) => incident.template_id.clone_from(text),
        ("template", Field::Str(text)) => incident.template.clone_from(text),
        ("message", Field::Str(text)) => incident.message = Some(text.clone()),
        ("message_hash", Field::Str(text)) => incident.message_hash = Some(text.clone()),
        ("parameters", Field::ListInternal(list)) => incident.parameters = texts(list),
        ("odd_parameter", Field::Str(text)) => incident.odd_parameter = Some(text.clone()),
        ("expected", Field::Str(text)) => incident.expected = Some(text.clone()),
        ("observed", Field::Double(number)) => incident.observed = Some(*number),
        ("rule", Field::Str(text)) => incident.rule = Some(text.clone()),
        ("synthetic", Field::Bool(flag)) => incident.synthetic = *flag,
        (name, Field::Float(nats)) => {
            if let Some(detector) = name.strip_prefix(DETECTOR) {
                incident.detectors.set(detector, *nats);
            }
        }
        _ => {}
    }
}

fn texts(list: &List) -> Vec<String> {
    let text = |field: &Field| if let Field::Str(text) = field { Some(text.clone()) } else { None };
    list.elements().iter().filter_map(text).collect()
}

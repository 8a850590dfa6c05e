//! The journals of three hosts, read as one table by DuckDB: what the layout is for.
//!
//! Needs a Python with the package `duckdb`: `ODDLINE_PYTHON` names it, else `python3` is tried. Without one a test says that it is skipped, and fails in CI:
//! `.ci/run` installs it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cli_support;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use cli_support::{json, ok, path, run};
use serde_json::{Value, json};

fn python() -> Option<String> {
    let python = std::env::var("ODDLINE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found =
        Command::new(&python).args(["-c", "import duckdb"]).output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "CI installs duckdb: see .ci/run");
        // Past the harness, which keeps to itself what a test prints that passes.
        writeln!(std::io::stderr(), "SKIPPED: no Python with the package duckdb (ODDLINE_PYTHON)").unwrap();
    }
    found.then_some(python)
}

/// The rows of a query, as JSON.
fn query(python: &str, sql: &str) -> Vec<Value> {
    const SCRIPT: &str = "
import duckdb, json, sys
found = duckdb.sql(sys.argv[1])
names = found.columns
print(json.dumps([dict(zip(names, row)) for row in found.fetchall()], default=str))";
    let output = Command::new(python).args(["-c", SCRIPT, sql]).output().unwrap();
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    json(std::str::from_utf8(&output.stdout).unwrap()).as_array().unwrap().clone()
}

/// An hour of a host: routine, and a failing disk in the second half.
fn events(host: usize) -> String {
    let mut text = String::new();
    for n in 0..4_000 {
        let message = match n {
            n if n > 3_000 && n % 250 == 0 => format!("ERROR disk sd{host} failed after {n} retries, giving \"up\""),
            n if n % 2 == 0 => format!("request {n} served in {} ms", n % 30),
            n => format!("cache hit for key {n}"),
        };
        text +=
            &format!("{}\n", json!({"timestamp": 1_741_946_400 + n, "host": format!("web{host}"), "message": message}));
    }
    text
}

/// Lets three hosts keep their journals in one directory; what each lists.
fn three_hosts(dir: &Path, format: &str) -> Vec<Vec<Value>> {
    let journal = dir.join("journal");
    let host = |host: usize| {
        let config = dir.join(format!("{host}.yaml"));
        let data = dir.join(format!("data{host}"));
        let text = format!(
            "data_dir: {}\ntime: event\nlearning_events: 1000\njournal: {{url: \"file://{}\", host: host{host}, format: {format}}}\n",
            data.display(),
            journal.display()
        );
        std::fs::write(&config, text).unwrap();
        ok(&run(&["score", "--input", "json", "--config", path(&config)], events(host)));
        let host_name = format!("host{host}");
        let args = ["incidents", "--config", path(&config), "--host", &host_name, "--format", "json", "--top", "0"];
        json(ok(&run(&args, ""))).as_array().unwrap().clone()
    };
    (1..=3).map(host).collect()
}

fn reads_as_one_table(python: &str, dir: &Path, format: &str, table: &str, rarity: &str) {
    let listed = three_hosts(dir, format);
    let expected: Vec<Value> = listed
        .iter()
        .zip(1..)
        .map(|(rows, host)| json!({"host": format!("host{host}"), "incidents": rows.len()}))
        .collect();
    assert!(listed.iter().all(|rows| !rows.is_empty()));
    let counted =
        query(python, &format!("select host, count(*) as incidents from {table} group by host order by host"));
    assert_eq!(counted, expected);
    let errors = "select distinct host from {} where list_contains(reasons, 'new_template') and template like 'ERROR disk%' order by host";
    assert_eq!(query(python, &errors.replace("{}", table)).len(), 3, "a condition on a list");
    let sql = format!(
        "select host, event_id, score, {rarity} as rarity, message, parameters, template_id, \
         epoch_ms(cast(time as timestamp)) as at, \"date\" as day, \"hour\" as hour from {table} order by host, time, event_id"
    );
    let rows = query(python, &sql);
    let all: Vec<&Value> = listed.iter().flatten().collect();
    assert_eq!(rows.len(), all.len());
    for (row, own) in rows.iter().zip(all) {
        for column in ["host", "event_id", "message", "parameters", "template_id"] {
            assert_eq!(row[column], own[column], "{column}");
        }
        assert!((row["score"].as_f64().unwrap() - own["score"].as_f64().unwrap()).abs() < 1e-9);
        assert!((row["rarity"].as_f64().unwrap() - own["detectors"]["rarity"].as_f64().unwrap()).abs() < 1e-4);
        let millis = u64::from_str_radix(&own["event_id"].as_str().unwrap()[..12], 16).unwrap();
        assert_eq!(row["at"].as_u64(), Some(millis), "times are times");
        assert_eq!(row["day"], "2025-03-14");
    }
    let pruned = query(python, &format!("select count(*) as n from {table} where hour = 11 and host = 'host2'"));
    let late = listed[1].iter().filter(|row| row["time"].as_str().unwrap().starts_with("2025-03-14T11")).count();
    assert_eq!(pruned[0]["n"], late);
}

#[test]
fn duckdb_reads_the_journals_of_three_hosts_as_one_table() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let table = format!(
        "read_json('{}/journal/*/*/*/*.ndjson', hive_partitioning = true, union_by_name = true)",
        dir.path().display()
    );
    reads_as_one_table(&python, dir.path(), "ndjson", &table, "detectors.rarity");
}

#[cfg(feature = "parquet")]
mod parquet {
    use std::path::PathBuf;

    use oddline::event::Timestamp;
    use oddline::storage::journal::{Format, Incident, Partition, decode, encode, object_key};

    use super::*;

    /// As the README has it.
    fn table(dir: &Path) -> String {
        format!("read_parquet('{}/*/*/*/*.parquet', hive_partitioning = true, union_by_name = true)", dir.display())
    }

    #[test]
    fn duckdb_reads_parquet_journals_of_three_hosts_as_one_table() {
        let Some(python) = python() else { return };
        let dir = tempfile::tempdir().unwrap();
        reads_as_one_table(&python, dir.path(), "parquet", &table(&dir.path().join("journal")), "detector_rarity");
    }

    /// A journal of one row of a host; its object.
    fn journal(dir: &Path, host: &str, row: &Incident) -> PathBuf {
        let bytes = encode(Format::Parquet, std::slice::from_ref(row)).unwrap();
        let key = object_key(&Partition::of(host, row), &row.event_id, &bytes, "parquet");
        let object = dir.join(key);
        std::fs::create_dir_all(object.parent().unwrap()).unwrap();
        std::fs::write(&object, bytes).unwrap();
        object
    }

    #[test]
    fn duckdb_unites_parquet_of_before_and_after_a_column_was_added_and_oddline_reads_both() {
        let Some(python) = python() else { return };
        let dir = tempfile::tempdir().unwrap();
        let mut row =
            Incident { event_id: "0-0-1".to_owned(), time: "2025-03-14T10:00:00Z".to_owned(), ..Incident::default() };
        (row.detectors.rarity, row.detectors.semantic) = (2.5, 4.0);
        let new = journal(dir.path(), "m", &row);
        // The older one comes first in one case, last in the other: it is the first whose columns DuckDB goes by unless told otherwise.
        for host in ["a", "z"] {
            let old = journal(dir.path(), host, &row);
            let sql = format!(
                "copy (select * exclude (detector_semantic, synthetic) from \
                 read_parquet('{}', hive_partitioning = false)) to '{}' (format parquet)",
                new.display(),
                old.display()
            );
            query(&python, &format!("{sql}; select 1 as one"));
            let bytes = std::fs::read(&old).unwrap();
            let key = object_key(&Partition::new(host, Timestamp(0)), "0", &bytes, "parquet");
            let mut expected = Incident { time: "2025-03-14T10:00:00.000000Z".to_owned(), ..row.clone() };
            expected.detectors.semantic = 0.0;
            assert_eq!(decode(&key, &bytes).unwrap(), (vec![expected], 0));
        }
        // And one that was written when the layout was new.
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/incidents-1/journal-parquet");
        let tables =
            format!("[{}]", [dir.path(), &golden].map(|dir| format!("'{}/*/*/*/*.parquet'", dir.display())).join(", "));
        let sql = "select host, detector_rarity as rarity, detector_semantic as semantic, synthetic \
                   from read_parquet(TABLES, hive_partitioning = true, union_by_name = true) order by host, event_id";
        let rows = query(&python, &sql.replace("TABLES", &tables));
        assert_eq!(rows[0], json!({"host": "a", "rarity": 2.5, "semantic": null, "synthetic": null}));
        assert_eq!(rows[1], json!({"host": "m", "rarity": 2.5, "semantic": 4.0, "synthetic": false}));
        assert_eq!((rows.len(), &rows[2]["host"], &rows[4]["host"]), (5, &json!("web-1"), &json!("z")));
    }
}

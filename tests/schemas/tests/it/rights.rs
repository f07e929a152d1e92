//! A release takes no right from the build before it, which goes on beside it, and gives back none that a later one needs.
//!
//! `fixtures/rights` has a file for each schema and level: what the role may do that builds of this level run as.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::PgPool;
use tael_testkit::{TestDatabase, TestRole};

use crate::{migrate_to, services};

type Rights = BTreeSet<String>;

/// What a role was granted, as `right on table`, `right (column) on table`, or `right on database`.
async fn rights(pool: &PgPool, role: &TestRole) -> Rights {
    let rights: Vec<String> = sqlx::query_scalar(
        "select lower(a.privilege_type) || ' on ' || c.relname
         from pg_class c, aclexplode(c.relacl) a where a.grantee = $1::regrole
         union all
         select lower(a.privilege_type) || ' (' || t.attname || ') on ' || c.relname
         from pg_attribute t join pg_class c on c.oid = t.attrelid, aclexplode(t.attacl) a
         where a.grantee = $1::regrole
         union all
         select lower(a.privilege_type) || ' on database'
         from pg_database d, aclexplode(d.datacl) a
         where d.datname = current_database() and a.grantee = $1::regrole and a.privilege_type <> 'CONNECT'",
    )
    .bind(role.name())
    .fetch_all(pool)
    .await
    .unwrap();
    rights.into_iter().collect()
}

/// The files, by the schema's name and the level.
fn recorded() -> BTreeMap<(String, i64), Rights> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rights");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let (schema, level) = path.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap();
            let rights = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
            ((schema.to_owned(), level.parse().unwrap()), rights)
        })
        .collect()
}

/// Says which of the old rights the new ones do not contain.
fn lost<'a>(old: &'a Rights, new: &Rights) -> Vec<&'a str> {
    let covers = |right: &str| {
        // Who may do something to a table may do it to each column.
        let of_table = right.split_once(" (").and_then(|(verb, rest)| {
            rest.split_once(") on ").map(|(_column, table)| format!("{verb} on {table}"))
        });
        new.contains(right) || of_table.is_some_and(|right| new.contains(&right))
    };
    old.iter().map(String::as_str).filter(|right| !covers(right)).collect()
}

#[tokio::test]
async fn every_level_has_the_rights_of_those_before_it() {
    let recorded = recorded();
    let mut faults = Vec::new();
    for (service, schemas) in services() {
        let database = TestDatabase::create().await;
        let (pool, role) = (database.pool(), database.role().await);
        for schema in schemas {
            migrate_to(&pool, schema.migrator, i64::MAX).await;
        }
        for (n, schema) in schemas.iter().enumerate() {
            let name = if n + 1 == schemas.len() { service } else { "eventlog" };
            let level = schema.migrator.iter().map(|migration| migration.version).max().unwrap();
            tael_postgres::grant(&pool, role.name(), std::slice::from_ref(schema)).await.unwrap();
            let now = rights(&pool, &role).await;
            // A migration tells a build of the level before that it must take nothing back.
            if recorded.get(&(name.to_owned(), level)) != Some(&now) {
                let lines: Vec<_> = now.iter().map(String::as_str).collect();
                faults.push(format!(
                    "{name}-{level:04}.txt does not say what its level may do; rights that change need a migration, \
                     if only an empty one; then add the file:\n{}\n",
                    lines.join("\n")
                ));
            }
            for ((_, old), rights) in recorded.iter().filter(|((of, old), _)| of == name && *old < level) {
                let lost = lost(rights, &now);
                if !lost.is_empty() {
                    faults.push(format!("builds of {name}-{old:04} still need {}", lost.join(", ")));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_right_that_an_older_build_would_miss_is_found() {
    let rights = |rights: &[&str]| rights.iter().map(|&right| right.to_owned()).collect::<Rights>();
    let old = rights(&["select on paid", "update (note) on paid", "temporary on database"]);
    assert_eq!(lost(&old, &old), [""; 0]);
    assert_eq!(lost(&old, &rights(&["delete on paid"])), Vec::from_iter(&old));
    let wider = rights(&["select on paid", "update on paid", "update (id) on paid", "temporary on database"]);
    assert_eq!(lost(&old, &wider), [""; 0]);
    let other = rights(&["select on paid", "update (id) on paid", "update on refunded"]);
    assert_eq!(lost(&old, &other), ["temporary on database", "update (note) on paid"]);
}

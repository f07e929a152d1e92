//! What a schema demands of those who read and write it, as PostgreSQL's catalogue tells it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgPool;

/// A schema's tables and what holds for their rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalogue {
    /// By table and column.
    pub(crate) columns: BTreeMap<(String, String), Column>,
    /// By table and name: checks, keys, foreign keys.
    pub(crate) constraints: BTreeMap<(String, String), Constraint>,
    /// Tables with what is unique in them, on which `on conflict` relies: the columns, and of which rows.
    pub(crate) unique: BTreeSet<(String, String)>,
    /// Definitions by table and name.
    pub(crate) triggers: BTreeMap<(String, String), String>,
    /// Definitions by signature: what triggers and checks call.
    pub(crate) functions: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constraint {
    pub(crate) definition: String,
    /// The table that a foreign key refers to.
    pub(crate) refers_to: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Column {
    /// The type with its length.
    pub(crate) kind: String,
    pub(crate) is_required: bool,
    /// Whether an insert may leave it out although it is required.
    pub(crate) has_default: bool,
}

impl Catalogue {
    pub(crate) async fn read(pool: &PgPool) -> Self {
        let columns: Vec<(String, String, String, bool, bool)> = sqlx::query_as(
            "select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                    a.atthasdef or a.attidentity <> ''
             from pg_attribute a join pg_class c on c.oid = a.attrelid
             where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
               and a.attnum > 0 and not a.attisdropped",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        let constraints: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
            "select c.relname::text, k.conname::text, replace(pg_get_constraintdef(k.oid), ' NOT VALID', ''),
                    r.relname::text
             from pg_constraint k join pg_class c on c.oid = k.conrelid left join pg_class r on r.oid = k.confrelid
             where k.connamespace = 'public'::regnamespace and k.contype in ('c', 'f', 'p', 'u', 'x')",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        let unique: Vec<(String, String)> = sqlx::query_as(
            "select c.relname::text, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', '')
             from pg_index i join pg_class c on c.oid = i.indrelid
             where c.relnamespace = 'public'::regnamespace and i.indisunique",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        let triggers: Vec<(String, String, String)> = sqlx::query_as(
            "select c.relname::text, t.tgname::text, pg_get_triggerdef(t.oid)
             from pg_trigger t join pg_class c on c.oid = t.tgrelid
             where c.relnamespace = 'public'::regnamespace and not t.tgisinternal",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        let functions: Vec<(String, String)> = sqlx::query_as(
            "select p.oid::regprocedure::text, pg_get_functiondef(p.oid)
             from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prokind in ('f', 'p')",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        Self {
            columns: columns
                .into_iter()
                .map(|(table, name, kind, is_required, has_default)| {
                    ((table, name), Column { kind, is_required, has_default })
                })
                .collect(),
            constraints: constraints
                .into_iter()
                .map(|(table, name, definition, refers_to)| {
                    ((table, name), Constraint { definition, refers_to })
                })
                .collect(),
            unique: unique.into_iter().collect(),
            triggers: triggers.into_iter().map(|(table, name, sql)| ((table, name), sql)).collect(),
            functions: functions.into_iter().collect(),
        }
    }

    /// Says what a build that knows `self` could stumble over in `new`; what one judges by eye is named by its table and
    /// its own name in `judged`.
    pub(crate) fn stumbles(&self, new: &Self, judged: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let tables: BTreeSet<&String> = self.columns.keys().map(|(table, _)| table).collect();
        for ((table, name), old) in &self.columns {
            let Some(column) = new.columns.get(&(table.clone(), name.clone())) else {
                found.push(format!("column {table}.{name} is gone"));
                continue;
            };
            if column.kind != old.kind {
                found.push(format!("column {table}.{name} was {} and is {}", old.kind, column.kind));
            }
            if column.is_required && !old.is_required {
                found.push(format!("column {table}.{name} became required"));
            }
            if column.is_required && old.has_default && !column.has_default {
                found.push(format!("column {table}.{name} lost its default"));
            }
        }
        for ((table, name), column) in &new.columns {
            let is_new = !self.columns.contains_key(&(table.clone(), name.clone()));
            if tables.contains(table) && is_new && column.is_required && !column.has_default {
                found.push(format!("column {table}.{name} is new, required, and has no default"));
            }
        }
        for (table, unique) in self.unique.difference(&new.unique) {
            found.push(format!("{unique} of {table} is not unique any more"));
        }
        for ((table, name), constraint) in &new.constraints {
            let old = self.constraints.get(&(table.clone(), name.clone()));
            if tables.contains(table) && old != Some(constraint) {
                found.push(format!("constraint {table}.{name} is {}", constraint.definition));
            }
            // What the build before does not know, it can't delete first.
            if let Some(other) = constraint.refers_to.as_ref().filter(|other| tables.contains(other))
                && !tables.contains(table)
            {
                found.push(format!("constraint {table}.{name} holds rows of {other}"));
            }
        }
        for (table, unique) in new.unique.difference(&self.unique) {
            if tables.contains(table) {
                found.push(format!("index {table}.{unique} is unique"));
            }
        }
        for ((table, name), sql) in &new.triggers {
            let old = self.triggers.get(&(table.clone(), name.clone()));
            if tables.contains(table) && old != Some(sql) {
                found.push(format!("trigger {table}.{name} watches"));
            }
        }
        for (signature, sql) in &self.functions {
            if new.functions.get(signature).is_some_and(|new| new != sql) {
                found.push(format!("function {signature} does something else"));
            }
        }
        found.retain(|stumble| !judged.iter().any(|judged| stumble.contains(&format!(" {judged} "))));
        found
    }
}

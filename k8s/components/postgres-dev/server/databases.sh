# Runs once, when the data directory is new: a database per service, its owner, and the role that the service runs as.
# Read into the image's entry point, which runs with `set -e`. The passwords are files, one per role: they say, too, which
# services there are.

for owner_password in /etc/tael/roles/tael_*_owner; do
  name=$(basename "$owner_password" _owner)
  psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet \
    -v name="$name" \
    -v owner="${name}_owner" \
    -v password="$(cat "/etc/tael/roles/$name")" \
    -v owner_password="$(cat "$owner_password")" <<'SQL'
create role :"owner" login password :'owner_password';
create role :"name" login password :'password';
create database :"name" owner :"owner";
-- No other service's role gets in. What this one may do inside, the owner's migrations say.
revoke all on database :"name" from public;
grant connect, temporary on database :"name" to :"name";
-- It sees whose transactions run, the owner's among them (libs/eventlog/src/horizon.rs).
grant pg_read_all_stats to :"name";
SQL
done

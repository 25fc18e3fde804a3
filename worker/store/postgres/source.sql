-- Tells ozmo at once what changes in the tables that it reads tenants from. Without
-- it, ozmo looks every few seconds. Run it once, as the owner of the tables.
create or replace function ozmo_source_changed() returns trigger language plpgsql as $$
begin
    perform pg_notify('ozmo_source', '');
    return null;
end
$$;

do $$
declare name text;
begin
    perform set_config('client_min_messages', 'warning', true); -- it says what is not there to be replaced
    foreach name in array array['tenants', 'tenant_networks', 'tenant_monitors', 'tenant_triggers', 'trigger_scripts'] loop
        execute format('drop trigger if exists ozmo_source on %I', name);
        execute format('create trigger ozmo_source after insert or update or delete or truncate on %I for each statement execute function ozmo_source_changed()', name);
    end loop;
end
$$;

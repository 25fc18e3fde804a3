package postgres

// SourceTables are those of a program whose tenants are taken over, empty.
const SourceTables = `
create table tenants (id uuid primary key default gen_random_uuid(), name text, slug text unique, is_active boolean default true,
	max_monitors int, max_networks int, max_triggers_per_monitor int, max_rpc_requests_per_minute int, max_storage_mb int,
	created_at timestamptz default now(), updated_at timestamptz default now());
create table tenant_networks (id uuid primary key default gen_random_uuid(), tenant_id uuid references tenants, network_id text, name text, blockchain text,
	configuration jsonb, is_active boolean default true, created_at timestamptz default now(), updated_at timestamptz default now(), unique (tenant_id, network_id));
create table tenant_monitors (id uuid primary key default gen_random_uuid(), tenant_id uuid references tenants, monitor_id text, name text,
	network_id uuid references tenant_networks, configuration jsonb, is_active boolean default true, trigger_script_ids uuid[],
	created_at timestamptz default now(), updated_at timestamptz default now(), unique (tenant_id, monitor_id));
create table tenant_triggers (id uuid primary key default gen_random_uuid(), tenant_id uuid references tenants, trigger_id text,
	monitor_id uuid references tenant_monitors, name text, type text, configuration jsonb, is_active boolean default true, script_id uuid,
	created_at timestamptz default now(), updated_at timestamptz default now(), unique (tenant_id, trigger_id));
create table trigger_scripts (id uuid primary key default gen_random_uuid(), tenant_id uuid references tenants, name text, description text,
	language text, content text, is_active boolean default true, created_at timestamptz default now(), updated_at timestamptz default now(), unique (tenant_id, name));
`

-- +goose Up
create table ozmo.cluster (
    single boolean primary key default true check (single),
    name text not null
);
comment on table ozmo.cluster is 'The cluster whose database this is.';

create table ozmo.contents (
    hash bytea primary key check (octet_length(hash) = 32),
    data bytea not null,
    put_at timestamptz not null default now()
);
create index contents_put_at on ozmo.contents (put_at);
comment on table ozmo.contents is 'What documents say, by SHA-256. Rows never change but for put_at; unused ones are deleted after an hour.';

create table ozmo.tenants (
    id text not null,
    born bigint not null,
    source text not null,
    version bigint not null,
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    primary key (id, born)
);
comment on table ozmo.tenants is 'An account of the cluster''s directory, which the leader keeps. The cluster never reads it.';

create table ozmo.versions (
    tenant text not null,
    born bigint not null,
    number bigint not null,
    log_index bigint not null,
    at timestamptz not null,
    primary key (tenant, born, number)
);

create table ozmo.documents (
    tenant text not null,
    born bigint not null,
    kind text not null,
    id text not null,
    from_version bigint not null,
    to_version bigint,
    hash bytea not null,
    refs bytea[] not null default '{}',
    primary key (tenant, born, kind, id, from_version)
);
create index documents_open on ozmo.documents (tenant, born) where to_version is null;
comment on column ozmo.documents.to_version is 'The first version that does not have it any more; null: it is in force.';

create table ozmo.audit (
    log_index bigint not null,
    at timestamptz not null,
    tenant text not null,
    actor text not null,
    role text not null,
    address text not null,
    action text not null,
    object text not null,
    before text not null,
    after text not null,
    version bigint not null,
    primary key (log_index, at)
);
create index audit_tenant on ozmo.audit (tenant, log_index desc);

create table ozmo.progress (
    single boolean primary key default true check (single),
    log_index bigint not null default 0,
    audit bigint not null default 0,
    audit_index bigint not null default 0,
    audit_at bigint not null default 0,
    audit_lost bigint not null default 0
);
insert into ozmo.progress default values;
comment on table ozmo.progress is 'How far the leader has copied the directory and the audit logs.';

-- +goose StatementBegin
create function ozmo.readable(data bytea) returns jsonb language plpgsql immutable as $$
begin
    return convert_from(data, 'UTF8')::jsonb;
exception when others then
    return null;
end
$$;
-- +goose StatementEnd

create view ozmo.current_documents as
select d.tenant, d.kind, d.id, d.from_version as since_version,
    case when d.kind = 'monitor' then ozmo.readable(c.data)->'monitor' else ozmo.readable(c.data) end as content, octet_length(c.data) as bytes
from ozmo.documents d
join ozmo.tenants t on t.id = d.tenant and t.born = d.born and t.deleted_at is null
left join ozmo.contents c on c.hash = d.hash
where d.to_version is null;
comment on view ozmo.current_documents is 'The documents in force as JSON; secrets are sealed, and the ABIs of monitors are contents of their own.';

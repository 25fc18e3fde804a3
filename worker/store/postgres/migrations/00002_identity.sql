-- +goose Up
alter table ozmo.cluster
    add id text not null default '',
    add spare_until timestamptz not null default now();
comment on column ozmo.cluster.id is 'Of all clusters that may have the name, this one. Delete the row to hand the database over to another cluster: the next one that comes gets it.';
comment on column ozmo.cluster.spare_until is 'No unused contents are deleted before: the database was handed over, and whoever has it may still restore what they are for.';

// Package postgres runs real PostgreSQL servers for tests, on a Unix socket, and
// does to them what happens to servers: they stop, die and freeze.
//
// It speaks to them through psql: what is tested is not what looks at the outcome.
package postgres

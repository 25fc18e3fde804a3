// Package durable puts small files in place so that a crash, also of the whole
// machine, leaves the old content or the new one and never a part: written
// beside the place, synced, given its name, and the folder synced as well.
//
// It owns no files, knows nothing of what is in them, and is not for data that
// does not fit into memory.
package durable

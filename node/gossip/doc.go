// Package gossip knows which nodes are there: it finds peers, notices deaths
// within a second or two, carries what a node says about itself (its address,
// server id, version, roles), and encrypts all that with the cluster's keys.
//
// It is the only importer of hashicorp/memberlist, and adds what that library
// leaves out: it remembers the dead for a day, joins again what a split has
// separated, tells a stranger which cluster it has come to, and tells a node
// that restarts elsewhere from two nodes with one name.
//
// It never decides anything: who is a member of the cluster, who leads and who
// works is decided by others, and this is one of their hints. Nothing but
// membership travels through it.
package gossip

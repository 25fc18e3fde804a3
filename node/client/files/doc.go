// Package files owns what configurations look like on the machine of whoever works
// with the API: it reads folders and files into documents as the API takes them,
// tells how they differ from those in force, and writes documents as a folder.
//
// References to the environment and to files are resolved here, on this machine,
// since the API takes none. Nothing is sent from here, and no secret is shown: what
// differs in one is said to differ, and a folder is written with placeholders.
package files

package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile puts a file in place, replacing what is there. It has the given
// permissions whatever the process's mask is. Once it has returned, the file
// survives a crash; before, or with an error, there is what was there.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, os.Rename)
}

// Create is WriteFile for a file that must not be there: the error then wraps
// fs.ErrExist, and what is there stays. Of two that create it at once, one wins.
func Create(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, os.Link) // unlike a rename it does not replace
}

func place(path string, data []byte, perm fs.FileMode, name func(from, to string) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after a rename there is nothing of that name
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(perm)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := name(tmp.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes what was named, renamed or removed in a folder survive a crash.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package node

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/durable"
)

// folderNote is what a node remembers of the folder it read last.
type folderNote struct {
	Digest string `json:"digest"`
	Done   bool   `json:"done"` // it was taken over, or found to be another node's matter
}

const folderNoteFile = "folder.json"

func (n *Node) noteFolder(f *folder, done bool) error {
	data, err := json.Marshal(folderNote{Digest: f.digest, Done: done})
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(n.opts.DataDir, folderNoteFile), data, 0o600)
}

// isNews reports whether a folder is to be taken over when the node starts: if it
// has changed since this node read it last, or if nobody has any tenants yet. A
// node that was away, or that is new, must not put an older copy in force, nor
// delete what the others have: that takes a SIGHUP.
func (n *Node) isNews(f *folder) (bool, error) {
	last, err := n.lastFolder()
	if err != nil {
		return false, err
	}
	if last == nil {
		return !n.hasTenants(fsm.SourceFolder), nil
	}
	return last.Digest != f.digest || !last.Done, nil
}

// lastFolder is what this node remembers of the folder; nil where it has read
// none. A note that is torn by a crash is of one that was being read.
func (n *Node) lastFolder() (*folderNote, error) {
	data, err := os.ReadFile(filepath.Join(n.opts.DataDir, folderNoteFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	last := new(folderNote)
	if json.Unmarshal(data, last) != nil {
		return new(folderNote), nil
	}
	return last, nil
}

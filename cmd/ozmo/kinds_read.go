package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/client/files"
)

// given is a document from a file.
type given struct {
	id  string // in the file, or, where it has none, the name
	own bool   // it is in the file
	doc json.RawMessage
}

// read reads one document of the kind; id is what the command line says, if anything.
func (k kindCommand) read(cmd *cobra.Command, file, id string) (*given, spec.Problems, error) {
	data, dir, err := readInput(cmd.InOrStdin(), file)
	if err != nil {
		return nil, nil, err
	}
	if k == scriptKind {
		doc, err := readScript(id, data)
		return &given{id: id, own: true, doc: doc}, nil, err
	}
	f, problems, err := files.Read(cmd.Context(), file, data, dir, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := problems.Err(); err != nil {
		return nil, nil, err
	}
	c, err := f.Configuration()
	if err != nil {
		return nil, nil, err
	}
	docs := map[string]map[string]json.RawMessage{"network": c.Networks, "monitor": c.Monitors, "trigger": c.Triggers}[k.name]
	if len(docs) != 1 || f.Count() != 1 {
		return nil, nil, fmt.Errorf("%s holds %s and %s in all, expected one %s: `ozmo apply -f` takes any number of any kind",
			file, count(len(docs), k.name), count(f.Count(), "document"), k.name)
	}
	out := &given{}
	for out.id, out.doc = range docs {
		out.own = f.OwnID(k.name, out.id)
	}
	return out, problems, nil
}

// readScript takes a script itself, or what `ozmo script get --output json` prints.
func readScript(id string, data []byte) (json.RawMessage, error) {
	language, ok := map[string]string{".js": "JavaScript", ".py": "Python", ".sh": "Bash"}[path.Ext(id)]
	if !ok {
		return nil, usagef("ID %q: its ending tells the language: .js, .py or .sh", id)
	}
	var whole struct{ Language, Content *string }
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if dec.Decode(&whole) == nil && whole.Language != nil && whole.Content != nil {
		return data, nil
	}
	return json.Marshal(client.Script{Language: language, Content: string(data)})
}

// known is the id of a document that was given without one: that of the tenant's
// document which has it, or which has the name.
func (k kindCommand) known(ctx context.Context, r *kindReach, tenant string, g *given) (string, error) {
	if g.own {
		return g.id, nil
	}
	list, err := askAPI(ctx, &r.apiReach, func(ctx context.Context, c *client.Client) ([]v1.Listed, error) {
		return c.Documents(ctx, tenant, k.plural)
	})
	if err != nil {
		return "", missing(err, "%s", ofOwner(tenant))
	}
	id := g.id
	for _, d := range list {
		switch {
		case d.ID == g.id:
			return d.ID, nil
		case d.Name == g.id:
			id = d.ID
		}
	}
	return id, nil
}

// readInput reads a file, or "-", and says where the files beside it are.
func readInput(stdin io.Reader, file string) (data []byte, dir string, err error) {
	if file == "-" {
		data, err = io.ReadAll(stdin)
		return data, ".", err
	}
	data, err = os.ReadFile(file)
	return data, filepath.Dir(file), err
}

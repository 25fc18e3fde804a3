package files

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/client"
)

// Documents are those of one tenant, or the shared networks, with their secrets as
// the API takes them.
type Documents struct {
	Networks map[string]*spec.Network
	Monitors map[string]*spec.Monitor
	Triggers map[string]*spec.Trigger
	Scripts  map[string]client.Script

	files map[string]string // spec.DocKey -> file; none where they come from one file
	named map[string]bool   // triggers that came without an id: it is their name
}

func newDocuments() *Documents {
	return &Documents{
		Networks: map[string]*spec.Network{}, Monitors: map[string]*spec.Monitor{}, Triggers: map[string]*spec.Trigger{},
		Scripts: map[string]client.Script{}, files: map[string]string{}, named: map[string]bool{},
	}
}

// Count is how many there are.
func (d *Documents) Count() int {
	return len(d.Networks) + len(d.Monitors) + len(d.Triggers) + len(d.Scripts)
}

// secrets are all of all documents.
func (d *Documents) secrets() (out []*spec.Secret) {
	for _, n := range d.Networks {
		out = append(out, n.Secrets()...)
	}
	for _, m := range d.Monitors {
		out = append(out, m.Secrets()...)
	}
	for _, t := range d.Triggers {
		out = append(out, t.Secrets()...)
	}
	return out
}

// Configuration is what the API takes. It holds secrets in clear.
func (d *Documents) Configuration() (client.Configuration, error) {
	var c client.Configuration
	var err error
	if c.Networks, err = encoded(d.Networks); err != nil {
		return c, err
	}
	if c.Monitors, err = encoded(d.Monitors); err != nil {
		return c, err
	}
	if c.Triggers, err = encoded(d.Triggers); err != nil {
		return c, err
	}
	c.Scripts = d.Scripts
	return c, nil
}

func encoded[T any](docs map[string]*T) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(docs))
	for id, doc := range docs {
		data, err := json.Marshal(doc)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", id, err)
		}
		out[id] = data
	}
	return out, nil
}

// Parse reads documents as the API shows them.
func Parse(c client.Configuration) (*Documents, error) {
	d := newDocuments()
	if err := decoded(c.Networks, d.Networks); err != nil {
		return nil, fmt.Errorf("network %w", err)
	}
	if err := decoded(c.Monitors, d.Monitors); err != nil {
		return nil, fmt.Errorf("monitor %w", err)
	}
	if err := decoded(c.Triggers, d.Triggers); err != nil {
		return nil, fmt.Errorf("trigger %w", err)
	}
	maps.Copy(d.Scripts, c.Scripts)
	return d, nil
}

func decoded[T any](raw map[string]json.RawMessage, into map[string]*T) error {
	for id, data := range raw {
		doc := new(T)
		if err := json.Unmarshal(data, doc); err != nil {
			return fmt.Errorf("%q: %w", id, err)
		}
		into[id] = doc
	}
	return nil
}

// Align gives monitors the ids under which the tenant has them: in a folder they
// have none but their names. A monitor is the one of that id, else the one of that
// name, else the one whose file it would be (see Render), which has been renamed.
// Likewise a trigger that came without an id, by its name.
func (d *Documents) Align(there *Documents) {
	ids := make(map[string]string, len(d.Monitors)) // here -> there
	taken := map[string]bool{}
	take := func(here, id string) {
		if _, done := ids[here]; !done && !taken[id] && there.Monitors[id] != nil {
			ids[here], taken[id] = id, true
		}
	}
	byName, byFile := map[string]string{}, map[string]string{}
	stems := fileNames(there.Monitors)
	for id, m := range there.Monitors {
		if other, twice := byName[m.Name]; !twice || id < other {
			byName[m.Name] = id
		}
		byFile[stems[id]] = id
	}
	here := sortedKeys(d.Monitors)
	for _, id := range here {
		take(id, id)
	}
	for _, id := range here {
		if known, ok := byName[d.Monitors[id].Name]; ok {
			take(id, known)
		}
	}
	for _, id := range here {
		file := d.files[spec.DocKey(spec.KindMonitor, id)]
		if known, ok := byFile[strings.TrimSuffix(path.Base(file), path.Ext(file))]; ok && file != "" {
			take(id, known)
		}
	}
	aligned := make(map[string]*spec.Monitor, len(d.Monitors))
	names := maps.Clone(d.files)
	for _, id := range here {
		to, ok := ids[id]
		if !ok {
			to = id
		}
		aligned[to] = d.Monitors[id]
		if file, ok := d.files[spec.DocKey(spec.KindMonitor, id)]; ok && to != id {
			delete(names, spec.DocKey(spec.KindMonitor, id))
			names[spec.DocKey(spec.KindMonitor, to)] = file
		}
	}
	d.Monitors, d.files = aligned, names
	d.alignTriggers(there)
}

func (d *Documents) alignTriggers(there *Documents) {
	for _, name := range sortedKeys(d.named) {
		if there.Triggers[name] != nil {
			continue
		}
		for _, id := range sortedKeys(there.Triggers) {
			if there.Triggers[id].Name == name && d.Triggers[id] == nil {
				d.Triggers[id] = d.Triggers[name]
				delete(d.Triggers, name)
				delete(d.named, name)
				break
			}
		}
	}
}

// OwnID reports whether a document brings its id with it. A monitor does not: it goes by
// its name. So does a trigger that came alone.
func (d *Documents) OwnID(kind, id string) bool {
	return kind != KindMonitor && !(kind == KindTrigger && d.named[id])
}

// File is the file of a document, empty where it has none of its own.
func (d *Documents) File(kind spec.Kind, id string) string { return d.files[spec.DocKey(kind, id)] }

package node

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// readRows reads the rows of a tenant as the folder that they would be, so that
// they mean the same, and are checked the same. What is not active is there, and
// does nothing: monitors are paused, and triggers are not told. Scripts are those
// that documents refer to, to be stored under the paths that they write.
func readRows(rows *postgres.Rows, shared map[string]*spec.Network) (f *spec.Folder, scripts map[string]*spec.StoredScript, problems spec.Problems) {
	wrong := func(where, format string, args ...any) {
		problems = append(problems, spec.Problem{File: where, Severity: spec.SeverityError, Message: fmt.Sprintf(format, args...)})
	}
	if !spec.IsTenantName(rows.Slug) {
		wrong("tenants", "slug %q is no name for a tenant: expected 1 to 63 lower-case letters, digits, underscores or hyphens", rows.Slug)
	}
	for _, c := range []struct {
		what       string
		used, most int
	}{{"max_monitors", len(rows.Monitors), rows.MaxMonitors}, {"max_networks", len(rows.Networks), rows.MaxNetworks}} {
		if c.most > 0 && c.used > c.most {
			wrong("tenants", "%s is %d, and there are %d", c.what, c.most, c.used)
		}
	}
	for table, list := range map[string][]postgres.Row{"tenant_networks.network_id": rows.Networks, "tenant_monitors.monitor_id": rows.Monitors, "tenant_triggers.trigger_id": rows.Triggers} {
		if slices.ContainsFunc(list, func(r postgres.Row) bool { return r.ID == "" }) {
			wrong("tenants", "%s is empty in a row", table)
		}
	}
	fsys, err := folderOf(rows)
	if err != nil {
		wrong("tenants", "%v", err)
		return &spec.Folder{}, nil, problems
	}
	f, found := spec.ReadFolder(fsys, spec.WithSharedNetworks(shared), spec.WithTenantFolder(), spec.WithTime(time.Now()))
	problems = append(problems, found...)
	silent := map[string]bool{}
	for _, r := range rows.Triggers {
		silent[r.ID] = !r.Active
		for id := range triggersOf(r) {
			silent[id] = !r.Active
		}
	}
	byFile := map[string]postgres.Row{}
	for _, r := range rows.Monitors {
		byFile[fileOf("monitors", r.ID)] = r
	}
	monitors, files := map[string]*spec.Monitor{}, map[string]string{}
	for name, m := range f.Monitors {
		r := byFile[f.Files[spec.DocKey(spec.KindMonitor, name)]]
		m.Paused = m.Paused || !rows.Active || !r.Active || !r.Network
		m.Triggers = slices.DeleteFunc(m.Triggers, func(id string) bool { return silent[id] })
		if most := quotaOf(rows, fsm.Quota{}).OrDefault().TriggersPerMonitor; len(m.Triggers) > most {
			wrong(fileOf("monitors", r.ID), "max_triggers_per_monitor is %d, and it has %d", most, len(m.Triggers))
		}
		monitors[r.ID] = m
		files[spec.DocKey(spec.KindMonitor, r.ID)] = f.Files[spec.DocKey(spec.KindMonitor, name)]
	}
	scripts = map[string]*spec.StoredScript{}
	keep := func(list ...spec.Script) {
		for _, s := range list {
			id, ok := spec.ScriptID(s.ScriptPath)
			data, err := fs.ReadFile(fsys, f.Scripts[s.ScriptPath])
			if !ok || err != nil {
				continue // the folder's problems say so
			}
			scripts[id] = &spec.StoredScript{Language: s.Language, Content: string(data)}
			if len(data) == 0 || len(data) > spec.MaxScript {
				wrong("trigger_scripts", "the script for %q has %d bytes, expected 1 to %d", s.ScriptPath, len(data), spec.MaxScript)
			}
		}
	}
	for _, m := range monitors {
		keep(m.TriggerConditions...)
	}
	for _, t := range f.Triggers {
		if t.Script != nil {
			keep(*t.Script)
		}
	}
	f.Monitors = monitors
	f.Files = files
	return f, scripts, problems
}

func fileOf(dir, id string) string { return path.Join(dir, url.PathEscape(id)+".json") }

// folderOf lays rows out as files, in memory.
func folderOf(rows *postgres.Rows) (fs.FS, error) {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	written := map[string][]byte{}
	add := func(name string, data []byte) error {
		if !fs.ValidPath(name) {
			return nil // what is missing then, whoever reads the folder tells
		}
		if was, ok := written[name]; ok {
			if !bytes.Equal(was, data) {
				return fmt.Errorf("two different scripts or documents are for %s: give one of them another path", name)
			}
			return nil
		}
		written[name] = data
		f, err := w.CreateHeader(&zip.FileHeader{Name: name}) // not compressed: it is read at once
		if err == nil {
			_, err = f.Write(data)
		}
		return err
	}
	if _, err := w.Create("monitors/"); err != nil {
		return nil, err
	}
	for dir, list := range map[string][]postgres.Row{"networks": rows.Networks, "monitors": rows.Monitors, "triggers": rows.Triggers} {
		for _, r := range list {
			data := r.Config
			paths := scriptPaths(data)
			if dir == "triggers" {
				paths = triggerScripts(r)
			}
			for i, p := range paths {
				if text, ok := scriptFor(rows, r, i, p); p != "" && ok {
					if err := add(path.Clean(p), []byte(text)); err != nil {
						return nil, err
					}
				}
			}
			if dir == "triggers" {
				data = triggerFile(r)
			}
			if err := add(fileOf(dir, r.ID), data); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
}

// triggersOf are the triggers of a row, by id: the row holds one, whose id is the
// row's, or a table of them, as a file of triggers does; nil for what is neither.
func triggersOf(r postgres.Row) map[string]json.RawMessage {
	var table map[string]json.RawMessage
	if json.Unmarshal(r.Config, &table) != nil {
		return nil
	}
	if table["trigger_type"] != nil {
		return map[string]json.RawMessage{r.ID: r.Config}
	}
	return table
}

// triggerFile is a row as a file of triggers: a table of them by id.
func triggerFile(r postgres.Row) []byte {
	data, err := json.Marshal(triggersOf(r))
	if err != nil || string(data) == "null" {
		return r.Config // which says what is wrong
	}
	return data
}

// triggerScripts are the paths of scripts that a row's triggers name, first the one
// that the row's script is for: that of the trigger with the row's id, or the only
// one; empty where that is not to be told.
func triggerScripts(r postgres.Row) (out []string) {
	table := triggersOf(r)
	for _, id := range slices.Sorted(maps.Keys(table)) {
		if id != r.ID {
			out = append(out, scriptPaths(table[id])...)
		}
	}
	own := scriptPaths(table[r.ID])
	if len(own) == 0 && len(out) > 1 {
		own = []string{""}
	}
	return append(own, out...)
}

// scriptPaths are the paths of scripts that a monitor or one trigger names, in order.
func scriptPaths(config []byte) (out []string) {
	var doc struct {
		Conditions []struct {
			Path string `json:"script_path"`
		} `json:"trigger_conditions"`
		Config struct {
			Path string `json:"script_path"`
		} `json:"config"`
	}
	if json.Unmarshal(config, &doc) != nil {
		return nil
	}
	for _, c := range doc.Conditions {
		out = append(out, c.Path)
	}
	if doc.Config.Path != "" {
		out = append(out, doc.Config.Path)
	}
	return out
}

// scriptFor is the row's script at a place, or the one whose name is the path's.
func scriptFor(rows *postgres.Rows, r postgres.Row, i int, p string) (string, bool) {
	if i < len(r.Scripts) {
		if s, ok := rows.Scripts[r.Scripts[i]]; ok {
			return s.Content, true
		}
	}
	base := path.Base(p)
	for _, s := range rows.Scripts {
		if s.Name == p || s.Name == base || s.Name == strings.TrimSuffix(base, path.Ext(base)) {
			return s.Content, true
		}
	}
	return "", false
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/client/files"
)

const variablesFile = "secrets.env"

func newExport(*app) *cobra.Command {
	var r apiReach
	var all, force bool
	secrets := newChoice("keep", "keep", "environment")
	cmd := &cobra.Command{
		Use:   "export [DIR | -]",
		Short: "Write tenants' documents as a folder",
		Long: `Write the documents of a tenant as a folder, in OpenZeppelin Monitor's layout:
networks/, monitors/, triggers/, and scripts under the paths that documents write.
With --all, the shared networks and every tenant in tenants/NAME/. With -, or
without DIR, one tenant's documents go to standard output, as the API shows them.

Secrets are never written. With --secrets keep, something stands in their place that
has ` + "`ozmo apply`" + ` leave them as they are, in the same cluster. With --secrets
environment, each is a variable, whose names are also written to ` + variablesFile + ` for
values to be filled in: for another cluster, or for ` + "`ozmo serve --config`" + `.

Files that are there are not overwritten without --force, and none is deleted.`,
		Example: `  ozmo export --tenant acme ./acme
  ozmo export --tenant acme - > acme.json
  ozmo export --all ./backup --secrets environment`,
		Args: cobra.MaximumNArgs(1),
	}
	r.register(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all tenants and the shared networks; for operators")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that are there")
	cmd.Flags().Var(secrets, "secrets", "what stands in the place of secrets: "+secrets.list())
	completeChoice(cmd, "secrets", secrets)
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "-"
		if len(args) > 0 {
			dir = args[0]
		}
		c, err := r.client()
		if err != nil {
			return err
		}
		switch {
		case all && r.strength("tenant") == 2:
			return usagef("--all and --tenant: give one of them")
		case all && dir == "-":
			return usagef("--all needs a folder to write to: ozmo export --all DIR")
		case dir == "-" && secrets.value != "keep":
			return usagef("--secrets %s needs a folder to write to", secrets.value)
		}
		if !all {
			tenant, err := r.tenant(cmd)
			if err != nil {
				return err
			}
			if dir == "-" {
				got, err := configurationOf(cmd.Context(), c, tenant)
				if err != nil {
					return err
				}
				return writeJSON(cmd.OutOrStdout(), got)
			}
			e := exporting{c: c, environment: secrets.value == "environment", files: map[string][]byte{}}
			if err := e.add(cmd.Context(), tenant, "", tenant); err != nil {
				return err
			}
			return e.write(cmd, dir, force)
		}
		e := exporting{c: c, environment: secrets.value == "environment", files: map[string][]byte{}}
		if err := e.everything(cmd); err != nil {
			return err
		}
		return e.write(cmd, dir, force)
	}
	return cmd
}

func configurationOf(ctx context.Context, c *client.Client, tenant string) (client.Configuration, error) {
	got, err := askClient(ctx, c, func(ctx context.Context, c *client.Client) (client.Configuration, error) {
		got, _, err := c.Configuration(ctx, tenant)
		return got, err
	})
	return got, missing(err, "%s", ofOwner(tenant))
}

// exporting is folders in the making.
type exporting struct {
	c           *client.Client
	environment bool

	files     map[string][]byte
	variables []string
	warnings  []string
	tenants   int
	documents int
}

// add takes the documents of a tenant, or the shared networks, into a folder.
func (e *exporting) add(ctx context.Context, tenant, folder, prefix string) error {
	got, err := configurationOf(ctx, e.c, tenant)
	if err != nil {
		return err
	}
	docs, err := files.Parse(got)
	if err != nil {
		return fmt.Errorf("%s: %w", whoseText(tenant), err)
	}
	if !e.environment {
		prefix = ""
	}
	r, err := files.Render(docs, prefix)
	if err != nil {
		return fmt.Errorf("%s: %w", whoseText(tenant), err)
	}
	maps.Copy(e.files, r.In(folder).Files)
	e.variables = append(e.variables, r.Variables...)
	for _, w := range r.Warnings {
		e.warnings = append(e.warnings, whoseText(tenant)+": "+w)
	}
	e.documents += docs.Count()
	return nil
}

func (e *exporting) everything(cmd *cobra.Command) error {
	ctx := cmd.Context()
	list, err := askClient(ctx, e.c, tenantsOf)
	if err != nil {
		return err
	}
	if err := e.add(ctx, client.Shared, "", "shared"); err != nil {
		return err
	}
	bar := newProgress(cmd.ErrOrStderr(), "tenants")
	defer bar.finish()
	for i, t := range list {
		// A folder without monitors/ is no tenant's.
		e.files["tenants/"+t+"/monitors/"] = nil
		if err := e.add(ctx, t, "tenants/"+t, t); err != nil {
			return err
		}
		e.tenants++
		bar.set(uint64(i+1), uint64(len(list)))
	}
	return nil
}

func tenantsOf(ctx context.Context, c *client.Client) ([]string, error) {
	return tenantNames(ctx, c, "")
}

func (e *exporting) write(cmd *cobra.Command, dir string, force bool) error {
	if len(e.variables) > 0 {
		var b strings.Builder
		for _, name := range e.variables {
			b.WriteString(name + "=\n")
		}
		e.files[variablesFile] = []byte(b.String())
	}
	if e.tenants == 0 {
		for _, folder := range []string{"networks/", "monitors/", "triggers/"} {
			e.files[folder] = nil // OpenZeppelin Monitor wants all three
		}
	}
	names := make([]string, 0, len(e.files))
	for name := range e.files {
		names = append(names, name)
	}
	slices.Sort(names)
	if !force {
		if err := notThere(dir, names); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := writeExported(filepath.Join(dir, filepath.FromSlash(name)), e.files[name], strings.HasSuffix(name, "/")); err != nil {
			return err
		}
	}
	for _, w := range e.warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "ozmo: %s\n", clean(w))
	}
	left := e.strangers(dir)
	if len(left) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "ozmo: %s of %s are not in force, and were left as they are: %s\n", count(len(left), "file"), dir, clean(strings.Join(left, ", ")))
	}
	of := ""
	if e.tenants > 0 {
		of = " of " + count(e.tenants, "tenant")
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s%s\n", dir, count(e.documents, "document"), of); err != nil {
		return err
	}
	if len(e.variables) > 0 {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s for you to fill in\n", filepath.Join(dir, variablesFile), count(len(e.variables), "secret"))
		return err
	}
	return nil
}

// notThere refuses to overwrite.
func notThere(dir string, names []string) error {
	var there []string
	for _, name := range names {
		if strings.HasSuffix(name, "/") {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			there = append(there, name)
		}
	}
	if len(there) == 0 {
		return nil
	}
	list := strings.Join(there[:min(len(there), 5)], ", ")
	if len(there) > 5 {
		list += fmt.Sprintf(" and %d more", len(there)-5)
	}
	return fmt.Errorf("%s has %s already: give another folder, or --force to overwrite them", dir, list)
}

// writeExported writes a file, or makes a folder. Scripts are not to be changed by
// others than their owner: what is written is for the user alone to change.
func writeExported(name string, data []byte, folder bool) error {
	if folder {
		return os.MkdirAll(name, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

// strangers are the documents in the folder that are not part of what was written,
// which would be made anew if it was applied.
func (e *exporting) strangers(dir string) (out []string) {
	seen := map[string]bool{}
	for name := range e.files {
		folder := strings.TrimSuffix(name, "/")
		if folder == name {
			folder = folder[:max(strings.LastIndexByte(name, '/'), 0)]
		}
		if base := folder[strings.LastIndexByte(folder, '/')+1:]; seen[folder] || base != "networks" && base != "monitors" && base != "triggers" {
			continue
		}
		seen[folder] = true
		entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(folder)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue // it has just been written to: nothing to tell
		}
		for _, entry := range entries {
			at := folder + "/" + entry.Name()
			if _, ours := e.files[at]; !ours && strings.EqualFold(filepath.Ext(at), ".json") {
				out = append(out, at)
			}
		}
	}
	slices.Sort(out)
	return out
}

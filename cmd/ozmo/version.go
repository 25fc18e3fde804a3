package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is linked.
var version = "dev"

// build describes the binary.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // "-dirty" at its end: with changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildVersion() string { return describeBuild().Version }

// describeBuild prefers what the linker was told over what the go command
// noted, which knows the version only after go install.
func describeBuild() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; b.Version == "dev" && v != "" && v != "(devel)" {
		b.Version = v
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if b.Commit != "" {
		b.Commit += dirty
	}
	return b
}

func newVersion(*app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show which ozmo this is",
		Example: `  ozmo version
  ozmo version --output json`,
		Args: cobra.NoArgs,
	}
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		b := describeBuild()
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), b)
		}
		commit := ""
		if b.Commit != "" {
			commit = " commit " + b.Commit
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "ozmo %s%s %s %s\n", b.Version, commit, b.Go, b.Platform)
		return err
	}
	return cmd
}

package manifests

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Service is what a compose file says about one of its services.
type Service struct {
	Command

	Image    string
	Profiles []string
	Ports    []string // HOST:CONTAINER
	Volumes  []string // WHAT:WHERE[:ro]
	Needs    []string // services it is started after, sorted
}

// ReadCompose reads the services of a compose file by name. Keys that it does
// not know, and variables of the shell, are errors.
func ReadCompose(file string) (map[string]Service, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	services, err := parseCompose(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return services, nil
}

type composeYAML struct {
	Name        string                 `yaml:"name"`
	Node        yaml.Node              `yaml:"x-node"` // what services merge
	Environment yaml.Node              `yaml:"x-environment"`
	Services    map[string]serviceYAML `yaml:"services"`
	Volumes     map[string]struct{}    `yaml:"volumes"`
}

type serviceYAML struct {
	Image string `yaml:"image"`
	Build *struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
		Target     string `yaml:"target"`
	} `yaml:"build"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Profiles    []string          `yaml:"profiles"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	DependsOn   map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Healthcheck *struct {
		Test        []string `yaml:"test"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		StartPeriod string   `yaml:"start_period"`
	} `yaml:"healthcheck"`
	Restart         string   `yaml:"restart"`
	NetworkMode     string   `yaml:"network_mode"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
	ReadOnly        bool     `yaml:"read_only"`
	Tmpfs           []string `yaml:"tmpfs"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
}

func parseCompose(data []byte) (map[string]Service, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	var doc composeYAML
	if err := decoder.Decode(&doc); err != nil {
		return nil, err
	}
	out := make(map[string]Service, len(doc.Services))
	for name, s := range doc.Services {
		service := Service{
			Command: Command{Args: s.Command, Env: s.Environment},
			Image:   s.Image, Profiles: s.Profiles, Ports: s.Ports, Volumes: s.Volumes,
			Needs: slices.Sorted(maps.Keys(s.DependsOn)),
		}
		for _, text := range slices.Concat(s.Command, service.Environ()) {
			if strings.Contains(text, "$") {
				return nil, fmt.Errorf("service %s: %q: variables are not known here", name, text)
			}
		}
		for _, need := range service.Needs {
			if _, ok := doc.Services[need]; !ok {
				return nil, fmt.Errorf("service %s needs %q, which is not there", name, need)
			}
		}
		for _, v := range s.Volumes {
			what, _, _ := strings.Cut(v, ":")
			if _, ok := doc.Volumes[what]; !ok && !strings.HasPrefix(what, ".") && !strings.HasPrefix(what, "/") {
				return nil, fmt.Errorf("service %s: the volume %q is not among the volumes", name, what)
			}
		}
		out[name] = service
	}
	return out, nil
}

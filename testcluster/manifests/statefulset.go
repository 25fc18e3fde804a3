package manifests

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// StatefulSet is what a StatefulSet of one container says about its pods.
type StatefulSet struct {
	Name    string
	Service string // the one that gives each pod its name
	Pods    []Pod  // by ordinal
}

// Pod is one pod of a StatefulSet, with what is its own filled in.
type Pod struct {
	Name string
	Command

	Ports   map[string]int // by name
	Mounts  []Mount
	Startup Probe
	// Liveness restarts the container, Readiness decides whether it is sent
	// anything and whether an update goes on.
	Liveness, Readiness Probe

	PreStop time.Duration // slept before SIGTERM
	Grace   time.Duration // from the beginning of PreStop to SIGKILL

	// What the container asks for and is limited to, like "cpu" and "memory".
	Requests, Limits map[string]string
}

// Mount is a folder of a container that comes from outside. Exactly one of
// Claim, Secret and ConfigMap is set.
type Mount struct {
	Path      string
	ReadOnly  bool
	Claim     string // volume of the pod's own
	Secret    string
	ConfigMap string
}

// ReadStatefulSet reads a StatefulSet as its pods would be in a namespace. Secrets
// are the values of "secret/key"; one that is missing is an error unless the
// manifest calls it optional.
func ReadStatefulSet(file, namespace string, secrets map[string]string) (*StatefulSet, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s, err := parseStatefulSet(data, namespace, secrets)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

const maxReplicas = 100

func parseStatefulSet(data []byte, namespace string, secrets map[string]string) (*StatefulSet, error) {
	var doc statefulSetYAML
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	spec := doc.Spec.Template.Spec
	switch {
	case doc.Kind != "StatefulSet":
		return nil, fmt.Errorf("is of kind %q, want StatefulSet", doc.Kind)
	case doc.Spec.Replicas < 1 || doc.Spec.Replicas > maxReplicas:
		return nil, fmt.Errorf("spec.replicas is %d, want 1 to %d", doc.Spec.Replicas, maxReplicas)
	case len(spec.Containers) != 1:
		return nil, fmt.Errorf("has %d containers, want 1", len(spec.Containers))
	}
	out := &StatefulSet{Name: doc.Metadata.Name, Service: doc.Spec.ServiceName}
	for i := range doc.Spec.Replicas {
		p, err := doc.pod(doc.Metadata.Name+"-"+strconv.Itoa(i), namespace, secrets)
		if err != nil {
			return nil, fmt.Errorf("pod %d: %w", i, err)
		}
		out.Pods = append(out.Pods, *p)
	}
	return out, nil
}

func (doc *statefulSetYAML) pod(name, namespace string, secrets map[string]string) (*Pod, error) {
	spec := doc.Spec.Template.Spec
	c := spec.Containers[0]
	p := &Pod{
		Name: name, Ports: make(map[string]int), Requests: c.Resources.Requests, Limits: c.Resources.Limits,
		PreStop: seconds(c.Lifecycle.PreStop.Sleep.Seconds), Grace: seconds(spec.Grace),
	}
	env, err := c.environment(map[string]string{"metadata.name": name, "metadata.namespace": namespace}, secrets)
	if err != nil {
		return nil, err
	}
	p.Env = env
	for _, a := range c.Args {
		expanded, err := expand(a, env)
		if err != nil {
			return nil, fmt.Errorf("argument %q: %w", a, err)
		}
		p.Args = append(p.Args, expanded)
	}
	for _, port := range c.Ports {
		p.Ports[port.Name] = port.ContainerPort
	}
	for _, probe := range []struct {
		name string
		from *probeYAML
		to   *Probe
	}{
		{"startupProbe", c.Startup, &p.Startup}, {"livenessProbe", c.Liveness, &p.Liveness}, {"readinessProbe", c.Readiness, &p.Readiness},
	} {
		if *probe.to, err = probe.from.probe(p.Ports); err != nil {
			return nil, fmt.Errorf("%s: %w", probe.name, err)
		}
	}
	p.Mounts, err = doc.mounts()
	return p, err
}

// environment is the container's, from its fields, secrets and plain values.
func (c *containerYAML) environment(fields, secrets map[string]string) (map[string]string, error) {
	env := make(map[string]string)
	for _, e := range c.Env {
		switch {
		case e.ValueFrom == nil:
			value, err := expand(e.Value, env)
			if err != nil {
				return nil, fmt.Errorf("variable %s: %w", e.Name, err)
			}
			env[e.Name] = value
		case e.ValueFrom.FieldRef != nil:
			value, ok := fields[e.ValueFrom.FieldRef.FieldPath]
			if !ok {
				return nil, fmt.Errorf("variable %s: the field %q is not known here", e.Name, e.ValueFrom.FieldRef.FieldPath)
			}
			env[e.Name] = value
		case e.ValueFrom.SecretKeyRef != nil:
			ref := e.ValueFrom.SecretKeyRef
			if value, ok := secrets[ref.Name+"/"+ref.Key]; ok {
				env[e.Name] = value
			} else if !ref.Optional {
				return nil, fmt.Errorf("variable %s: the secret %s/%s is needed", e.Name, ref.Name, ref.Key)
			}
		default:
			return nil, fmt.Errorf("variable %s: its valueFrom is not known here", e.Name)
		}
	}
	return env, nil
}

// expand replaces $(NAME). Kubernetes leaves a name that is not set as it is;
// that is always a mistake, and an error here.
func expand(s string, env map[string]string) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		if rest, ok := strings.CutPrefix(after, "$"); ok { // $$ is a $
			out.WriteByte('$')
			s = rest
			continue
		}
		rest, ok := strings.CutPrefix(after, "(")
		name, rest, closed := strings.Cut(rest, ")")
		if !ok || !closed {
			out.WriteByte('$')
			s = after
			continue
		}
		value, ok := env[name]
		if !ok {
			return "", fmt.Errorf("$(%s) is not set before it", name)
		}
		out.WriteString(value)
		s = rest
	}
}

func (p *probeYAML) probe(ports map[string]int) (Probe, error) {
	if p == nil || p.HTTPGet == nil {
		return Probe{}, errors.New("want one with httpGet")
	}
	port, ok := ports[p.HTTPGet.Port]
	if !ok {
		var err error
		if port, err = strconv.Atoi(p.HTTPGet.Port); err != nil {
			return Probe{}, fmt.Errorf("the container has no port %q", p.HTTPGet.Port)
		}
	}
	out := Probe{
		Path: p.HTTPGet.Path, Port: port, Delay: seconds(p.InitialDelaySeconds),
		// Kubernetes' defaults.
		Period: 10 * time.Second, Timeout: time.Second, Failures: 3, Successes: 1,
	}
	if p.PeriodSeconds > 0 {
		out.Period = seconds(p.PeriodSeconds)
	}
	if p.TimeoutSeconds > 0 {
		out.Timeout = seconds(p.TimeoutSeconds)
	}
	if p.FailureThreshold > 0 {
		out.Failures = p.FailureThreshold
	}
	if p.SuccessThreshold > 0 {
		out.Successes = p.SuccessThreshold
	}
	return out, nil
}

// mounts finds the volume behind each of the container's folders.
func (doc *statefulSetYAML) mounts() ([]Mount, error) {
	volumes := make(map[string]Mount)
	for _, c := range doc.Spec.Claims {
		volumes[c.Metadata.Name] = Mount{Claim: c.Metadata.Name}
	}
	for _, v := range doc.Spec.Template.Spec.Volumes {
		volumes[v.Name] = Mount{Secret: v.Secret.SecretName, ConfigMap: v.ConfigMap.Name}
	}
	var out []Mount
	for _, m := range doc.Spec.Template.Spec.Containers[0].VolumeMounts {
		v := volumes[m.Name]
		if v == (Mount{}) {
			return nil, fmt.Errorf("the mount %s is of no volume known here: %q", m.MountPath, m.Name)
		}
		v.Path, v.ReadOnly = m.MountPath, m.ReadOnly
		out = append(out, v)
	}
	return out, nil
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

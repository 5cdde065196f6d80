// One binary holds the parts of a Kubernetes cluster, so that its dependencies are compiled and linked once.
//
// Usage: cluster etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet|kube-proxy FLAGS...
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var parts = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kube-proxy":              proxy.NewProxyCommand,
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: cluster PART FLAGS...")
		os.Exit(2)
	}
	part := os.Args[1]
	os.Args = os.Args[1:] // each part reads its flags from there
	if part == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	command, found := parts[part]
	if !found {
		fmt.Fprintf(os.Stderr, "no part %q of a cluster\n", part)
		os.Exit(2)
	}
	os.Exit(cli.Run(command()))
}

// The DNS server of a cluster: CoreDNS with its Kubernetes plugin alone, as the others multiply what has to be built.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() {
	dnsserver.Directives = []string{"kubernetes"}
	coremain.Run()
}

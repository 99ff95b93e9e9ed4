{{/*
The workers of the events, or those of a downstream repository: what depends on which of them it is.

Argument: a dict of
  root     the top-level object of Helm
  values   the values, those of the target if it is one
  target   the name of the downstream repository; empty: the role `write`
*/}}
{{- define "butler-writer.worker" -}}
{{- $values := .values -}}
{{- $root := .root -}}
{{- $release := include "butler-writer.name" $root -}}
{{- $name := .target | empty | ternary $release (printf "%s-%s" $release .target) -}}
{{- if gt (len $name) 52 -}}
{{-   fail (printf "%s has more than 52 characters, and Kubernetes cannot start pods of a StatefulSet of this name: set fullnameOverride" $name) -}}
{{- end -}}
{{- $scaled := and $values.autoscaling.enabled (empty .target) -}}
{{- $selector := include "butler-writer.selector" . -}}
{{- $annotations := dict -}}
{{- if not $values.monitoring.podMonitor -}}
{{-   $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" "6066" "prometheus.io/path" "/metrics" -}}
{{- end -}}
{{- if and .target $values.rules -}}
{{- /* A worker reads the rules when it starts. */ -}}
{{-   $annotations = set $annotations "butler-writer/rules" ($values.rules | sha256sum) -}}
{{- end -}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $name | quote }}
  labels: {{- include "butler-writer.labels" $root | nindent 4 }}
# Selector, serviceName, podManagementPolicy and volumeClaimTemplates cannot be changed: these are
# the deployed chart's, which sets only the first.
spec:
  {{- if not $scaled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  selector:
    matchLabels: {{- $selector | nindent 6 }}
  template:
    metadata:
      labels:
        {{- $selector | nindent 8 }}
        app.kubernetes.io/part-of: butler-writer
      {{- with merge (deepCopy ($values.podAnnotations | default dict)) $annotations }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec: {{- include "butler-writer.pod" (merge (dict "args" "worker") .) | nindent 6 }}
{{- if gt (int ($scaled | ternary $values.autoscaling.maxReplicas $values.replicas)) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name | quote }}
  labels: {{- include "butler-writer.labels" $root | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- $selector | nindent 6 }}
{{- end }}
{{- if and .target $values.rules }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name | quote }}
  labels: {{- include "butler-writer.labels" $root | nindent 4 }}
data:
  rules.yaml: {{ $values.rules | quote }}
{{- end }}
{{- if $values.ingress.enabled }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name | quote }}
  labels: {{- include "butler-writer.labels" $root | nindent 4 }}
spec:
  # Somebody looks at the pages because a worker is not ready.
  publishNotReadyAddresses: true
  selector: {{- $selector | nindent 4 }}
  ports:
    - name: http
      port: 6066
      targetPort: http
{{- end }}
---
apiVersion: v1
kind: Pod
metadata:
  name: {{ $name }}-check
  labels:
    {{- include "butler-writer.labels" $root | nindent 4 }}
    app.kubernetes.io/name: butler-writer-check
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  restartPolicy: Never
  {{- include "butler-writer.pod" (merge (dict "args" "check") .) | nindent 2 }}
{{ end -}}

{{/*
What selects these workers, and those of no other StatefulSet; the name is also Prometheus' job.
*/}}
{{- define "butler-writer.selector" -}}
app.kubernetes.io/name: butler-writer-service{{ with .target }}-{{ . }}{{ end }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end -}}

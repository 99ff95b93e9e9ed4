{{/*
The name of the release's objects. It is made as the deployed chart makes it, whatever the name of
this chart is: a StatefulSet cannot be renamed.
*/}}
{{- define "butler-writer.name" -}}
{{- $name := .Values.nameOverride | default "butler-writer-service" -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
What selects all pods of the release, of both roles.
*/}}
{{- define "butler-writer.podLabels" -}}
app.kubernetes.io/part-of: butler-writer
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "butler-writer.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "butler-writer.podLabels" . }}
{{- end -}}

{{- define "butler-writer.secret" -}}
{{ .Values.secretName | default (printf "%s-secret" (include "butler-writer.name" .)) }}
{{- end -}}

{{/*
A value as the text of an environment variable. Helm reads numbers as floating-point ones, and would
print 16777216 as 1.6777216e+07.
*/}}
{{- define "butler-writer.text" -}}
{{- kindIs "string" . | ternary . (toJson .) -}}
{{- end -}}

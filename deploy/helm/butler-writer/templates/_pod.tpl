{{/*
The content of a pod: a worker, or the check of `helm test`. Both have the same environment and files.

Argument: a dict of
  root     the top-level object of Helm
  values   the values, those of the target if it is one
  target   the name of the downstream repository; empty: the role `write`
  args     what is run: worker or check
*/}}
{{- define "butler-writer.pod" -}}
{{- $values := .values -}}
{{- $secret := include "butler-writer.secret" .root -}}
{{- $image := printf "%s:%s" $values.image.repository (include "butler-writer.text" ($values.image.tag | default .root.Chart.AppVersion)) -}}
automountServiceAccountToken: false
# The variables that they would be look like settings.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ add $values.shutdownTimeout 15 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  seccompProfile:
    type: RuntimeDefault
initContainers:
  # The Butler reads its database credentials only from a file of its own user that nobody else may read.
  - name: database-credentials
    image: {{ $image | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    command:
      - install
      - --mode=0400
      - /app/db-auth-mount/db-auth.yaml
      - /app/lsst-credentials/db-auth.yaml
    securityContext: {{- include "butler-writer.securityContext" . | nindent 6 }}
    resources: {{- include "butler-writer.resources" . | nindent 6 }}
    volumeMounts:
      - name: database-secret
        mountPath: /app/db-auth-mount
        readOnly: true
      - name: database-credentials
        mountPath: /app/lsst-credentials
containers:
  - name: butler-writer
    image: {{ $image | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args: [{{ .args }}]
    env: {{- include "butler-writer.environment" . | nindent 6 }}
    {{- if eq .args "worker" }}
    ports:
      - name: http
        containerPort: 6066
    # They answer from the start on, also while the worker waits for brokers and database.
    startupProbe:
      httpGet:
        path: /livez
        port: http
      periodSeconds: 2
      timeoutSeconds: 5
      failureThreshold: 60
    livenessProbe:
      httpGet:
        path: /livez
        port: http
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    readinessProbe:
      httpGet:
        path: /readyz
        port: http
      periodSeconds: 5
      timeoutSeconds: 5
      failureThreshold: 2
    {{- end }}
    securityContext: {{- include "butler-writer.securityContext" . | nindent 6 }}
    resources: {{- include "butler-writer.resources" . | nindent 6 }}
    volumeMounts:
      - name: tmp
        mountPath: /tmp
      - name: database-credentials
        mountPath: /app/lsst-credentials
        readOnly: true
      {{- if $values.s3.endpointUrl }}
      - name: s3-credentials
        mountPath: /app/s3
        readOnly: true
      {{- end }}
      {{- if and .target $values.rules }}
      - name: rules
        mountPath: /etc/butler-writer
        readOnly: true
      {{- end }}
      {{- with $values.volumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  - name: database-secret
    secret:
      secretName: {{ $secret | quote }}
      items:
        - key: db-auth_file
          path: db-auth.yaml
  - name: database-credentials
    emptyDir:
      medium: Memory
      sizeLimit: 1Mi
  {{- if $values.s3.endpointUrl }}
  - name: s3-credentials
    secret:
      secretName: {{ $secret | quote }}
      items:
        - key: s3_credentials_file
          path: credentials
  {{- end }}
  {{- if and .target $values.rules }}
  - name: rules
    configMap:
      name: {{ include "butler-writer.name" .root }}-{{ .target }}
  {{- end }}
  {{- with $values.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "butler-writer.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "butler-writer.resources" -}}
{{- range $part, $suffix := dict "requests" "Request" "limits" "Limit" }}
{{ $part }}:
  {{- range $name := list "cpu" "memory" }}
  {{- with get ($.values.resources | default dict) (print $name $suffix) }}
  {{ $name }}: {{ include "butler-writer.text" . | quote }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "butler-writer.environment" -}}
{{- $values := .values -}}
- name: BUTLER_REPOSITORY
  value: {{ $values.outputRepo | quote }}
- name: KAFKA_CLUSTER
  value: {{ $values.kafka.clusterAddress | quote }}
- name: KAFKA_TOPIC
  value: {{ $values.kafka.topic | quote }}
{{- if .target }}
- name: BUTLER_WRITER_ROLE
  value: replicate
- name: BUTLER_WRITER_TARGET
  value: {{ .target | quote }}
{{- if $values.rules }}
- name: BUTLER_WRITER_RULES
  value: /etc/butler-writer/rules.yaml
{{- end }}
{{- else }}
- name: KAFKA_OUTPUT_TOPIC
  value: {{ $values.kafka.outputTopic | quote }}
- name: OUTPUT_DATASET_LIST_DIRECTORY
  value: {{ $values.outputDatasetListDirectory | quote }}
{{- end }}
{{- if $values.kafka.username }}
- name: KAFKA_USERNAME
  value: {{ $values.kafka.username | quote }}
- name: KAFKA_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "butler-writer.secret" .root | quote }}
      key: {{ $values.kafka.passwordKey | quote }}
{{- end }}
- name: KAFKA_DEBUG
  value: {{ $values.kafka.debug | ternary "1" "0" | quote }}
- name: WRITER_DEBUG_LEVEL
  value: {{ $values.logLevel | quote }}
- name: LSST_DB_AUTH
  value: /app/lsst-credentials/db-auth.yaml
{{- with $values.s3 }}
{{- if .endpointUrl }}
- name: S3_ENDPOINT_URL
  value: {{ .endpointUrl | quote }}
- name: AWS_SHARED_CREDENTIALS_FILE
  value: /app/s3/credentials
{{- with .aws_profile }}
- name: AWS_PROFILE
  value: {{ . | quote }}
{{- end }}
{{- with .checksum }}
- name: AWS_REQUEST_CHECKSUM_CALCULATION
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
# The pages of the other workers cannot resolve a pod's host name.
- name: BUTLER_WRITER_WEB_HOST
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: BUTLER_WRITER_LANES
  value: {{ include "butler-writer.text" $values.lanes | quote }}
- name: BUTLER_WRITER_SHUTDOWN_TIMEOUT
  value: {{ include "butler-writer.text" $values.shutdownTimeout | quote }}
{{- range $name, $value := $values.settings }}
- name: {{ $name }}
  value: {{ include "butler-writer.text" $value | quote }}
{{- end }}
{{- with $values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "stoker.fullname" -}}
{{- if contains "stoker" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-stoker" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Objects without a namespace carry the release's, so that two releases do not collide. */ -}}
{{- define "stoker.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "stoker.fullname" .) -}}
{{- end -}}

{{- define "stoker.selector" -}}
app.kubernetes.io/name: stoker
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "stoker.labels" -}}
{{ include "stoker.selector" . }}
app.kubernetes.io/part-of: stoker
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "stoker.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "stoker.fullname" .) -}}
{{- end -}}

{{- define "stoker.image" -}}
{{- $image := .Values.image -}}
{{- if $image.reference -}}
{{- $image.reference -}}
{{- else if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "stoker.workerImage" -}}
{{- .Values.images.worker | default (printf "ghcr.io/stoker-dev/worker:%s" .Chart.AppVersion) -}}
{{- end -}}

{{- /*
The operator's rights over what services are made of. The last two rules are what it grants to the
endpoint pickers: Kubernetes lets nobody grant what he does not hold, so no `bind` and no `escalate`
is needed. No Secret is ever read, no rule has a wildcard.
*/ -}}
{{- define "stoker.rules" -}}
- apiGroups: [stoker.dev]
  resources: [inferenceservices]
  verbs: [get, list, watch]
- apiGroups: [stoker.dev]
  resources: [inferenceservices/status]
  verbs: [get, patch]
- apiGroups: [stoker.dev]
  resources: [modelcaches]
  # create, patch: the cache that several services share by naming its source.
  verbs: [get, list, watch, create, patch]
- apiGroups: [stoker.dev]
  resources: [modelcaches/status]
  verbs: [get, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.leaderWorkerSet.enabled }}
- apiGroups: [leaderworkerset.x-k8s.io]
  resources: [leaderworkersets]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  # create, patch: those of model caches. None is ever deleted: they go with their owner.
  verbs: [get, create, patch]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [pods]
  # patch: one annotation, the cost of losing an engine pod, before a scale-down.
  verbs: [get, list, watch, patch]
- apiGroups: [inference.networking.x-k8s.io]
  resources: [inferenceobjectives, inferencemodelrewrites]
  verbs: [get, list, watch]
{{- end -}}

{{- /*
What there is to run on, and where a model's volume lies. None of it belongs to a namespace, so none
of it is granted where `watchNamespaces` confines the operator.
*/ -}}
{{- define "stoker.nodeRules" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list]
{{- if .Values.nodes.label }}
- apiGroups: [""]
  resources: [nodes]
  verbs: [patch]
{{- end }}
- apiGroups: [""]
  resources: [persistentvolumes]
  verbs: [get]
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [get]
{{- end -}}

{{- /* A priority cannot be changed, so another one is another class. */ -}}
{{- define "stoker.headroomClass" -}}
{{- .Values.headroom.priorityClassName | default (printf "%s-%s-headroom-%d" .Release.Namespace (include "stoker.fullname" .) (sub 0 (int .Values.headroom.priority))) -}}
{{- end -}}

{{- /* An entry of `accelerators` with what it takes from the type that it is like. */ -}}
{{- define "stoker.accelerator" -}}
{{- $entry := get .root.Values.accelerators .name -}}
{{- if not (hasKey .root.Values.accelerators .name) -}}
{{- fail (printf "headroom.pools: there is no accelerator %q in `accelerators`; it has %s" .name (keys .root.Values.accelerators | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $all := dict -}}
{{- if and $entry.like (ne $entry.like .name) -}}
{{- if has .name .path -}}
{{- fail (printf "accelerators.%s.like leads back to itself" .name) -}}
{{- end -}}
{{- $all = include "stoker.accelerator" (dict "root" .root "name" $entry.like "path" (append .path .name)) | fromYaml -}}
{{- end -}}
{{- range $field := list "resource" "nodeSelector" "tolerations" -}}
{{- if hasKey ($entry | default dict) $field -}}
{{- $_ := set $all $field (get $entry $field) -}}
{{- end -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{- /* The operator tells what is absent from what is empty; values cannot. */ -}}
{{- define "stoker.caches" -}}
{{- $caches := .Values.caches -}}
storage: {{ include "stoker.filled" $caches.storage }}
{{- range $name := list "schemes" "hub" "objectEndpoint" "plainHosts" "privateHosts" "forbiddenNetworks" "compileRoom" "allowCode" "parallel" "patienceSeconds" }}
{{ $name }}: {{ toJson (get $caches $name) }}
{{- end }}
{{- range $name := list "caConfigMap" "maxSize" "verifyEvery" }}
{{- if get $caches $name }}
{{ $name }}: {{ toJson (get $caches $name) }}
{{- end }}
{{- end }}
proxy: {{ include "stoker.filled" $caches.proxy }}
{{- end -}}

{{- define "stoker.filled" -}}
{{- $kept := dict -}}
{{- range $name, $value := . -}}
{{- if $value -}}
{{- $_ := set $kept $name $value -}}
{{- end -}}
{{- end -}}
{{- toJson $kept -}}
{{- end -}}

{{- define "stoker.config" -}}
images:
  worker: {{ include "stoker.workerImage" . | quote }}
  envoy: {{ .Values.images.envoy | quote }}
  picker: {{ .Values.images.picker | quote }}
engines:
  {{- toYaml .Values.engines | nindent 2 }}
accelerators:
  {{- toYaml .Values.accelerators | nindent 2 }}
defaultAccelerator: {{ .Values.defaultAccelerator | quote }}
notify: {{ printf "%s.%s.svc.%s:8080" (include "stoker.fullname" .) .Release.Namespace .Values.clusterDomain | quote }}
clusterDomain: {{ .Values.clusterDomain | quote }}
imagePullSecrets: {{ toJson .Values.servicePullSecrets }}
allowed:
  {{- toYaml .Values.allowed | nindent 2 }}
metrics:
  {{- toYaml .Values.metrics | nindent 2 }}
drain:
  {{- toYaml .Values.drain | nindent 2 }}
models:
  {{- toYaml .Values.models | nindent 2 }}
caches:
  {{- include "stoker.caches" . | nindent 2 }}
nodes:
  {{- toYaml .Values.nodes | nindent 2 }}
proposals:
  {{- toYaml .Values.proposals | nindent 2 }}
leaderWorkerSet:
  {{- toYaml .Values.leaderWorkerSet | nindent 2 }}
externalScalers:
  keda:
    enabled: {{ .Values.externalScalers.keda.enabled }}
    {{- if .Values.externalScalers.keda.certificateSecret }}
    certificate: /etc/stoker-keda
    verifyClients: {{ .Values.externalScalers.keda.verifyClients }}
    {{- end }}
  hpa:
    enabled: {{ .Values.externalScalers.hpa.enabled }}
    {{- if .Values.externalScalers.hpa.enabled }}
    certificate: /etc/stoker-hpa
    {{- end }}
watchNamespaces: {{ toJson .Values.watchNamespaces }}
logLevel: {{ .Values.logLevel | quote }}
lease:
  name: {{ include "stoker.fullname" . }}-operator
  {{- toYaml .Values.lease | nindent 2 }}
{{- end -}}

{{- /* Whose pod it is, by the labels that Stoker gives. Names of labels are as Prometheus writes them. */ -}}
{{- define "stoker.podRelabelings" -}}
- sourceLabels: [__meta_kubernetes_namespace]
  targetLabel: namespace
- sourceLabels: [__meta_kubernetes_pod_name]
  targetLabel: pod
- sourceLabels: [__meta_kubernetes_pod_label_stoker_dev_service]
  targetLabel: service
- sourceLabels: [__meta_kubernetes_pod_label_stoker_dev_revision]
  targetLabel: revision
{{- end -}}

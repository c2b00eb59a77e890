/* Stand-ins for cuBLAS, cuBLASLt and cuDNN: handles and descriptors, and products and convolutions that do nothing.
 *
 * Their workspaces are not those of the real libraries: cuBLASLt and cuDNN ask for none, unless FAKE_CUDNN_WORKSPACE
 * (bytes) says what each convolution asks for. cuBLAS's own is torch's choice and is taken as ever.
 */
#include <cudnn.h>
#include <cudnn_backend.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
#define MADE(out) (*(void **)(out) = calloc(1, 64), 0)

/* cuBLAS's own headers want more than comes with torch: its handles are pointers, its enumerators numbers. */
API int cublasCreate_v2(void **out) { return MADE(out); }
API int cublasDestroy_v2(void *handle) { free(handle); return 0; }
API int cublasGetMathMode(void *handle, int *mode) { (void)handle; *mode = 0; return 0; }
API int cublasGetPointerMode_v2(void *handle, int *mode) { (void)handle; *mode = 0; return 0; }

API int cublasLtMatmulDescCreate(void **out, int compute, int scale) { (void)compute, (void)scale; return MADE(out); }
API int cublasLtMatmulDescDestroy(void *it) { free(it); return 0; }
API int cublasLtMatrixLayoutCreate(void **out, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    (void)type, (void)rows, (void)columns, (void)ld;
    return MADE(out);
}
API int cublasLtMatrixLayoutDestroy(void *it) { free(it); return 0; }
API int cublasLtMatmulPreferenceCreate(void **out) { return MADE(out); }
API int cublasLtMatmulPreferenceDestroy(void *it) { free(it); return 0; }

typedef struct { uint64_t algorithm[8]; size_t workspace; int state; float waves; int reserved[4]; } Heuristic;
API int cublasLtMatmulAlgoGetHeuristic(void *handle, void *what, void *a, void *b, void *c, void *d, void *how, int asked,
                                       Heuristic *out, int *count) {
    (void)handle, (void)what, (void)a, (void)b, (void)c, (void)d, (void)how, (void)asked;
    memset(out, 0, sizeof *out);
    *count = 1;
    return 0;
}

/* ---- cuDNN ---- */

API size_t cudnnGetVersion(void) { return CUDNN_VERSION; }
API size_t cudnnGetCudartVersion(void) { return 13000; }
API const char *cudnnGetErrorString(cudnnStatus_t status) { return status ? "not in the stand-in" : "success"; }
API cudnnStatus_t cudnnCreate(cudnnHandle_t *out) { return MADE(out); }
API cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { free(handle); return 0; }
API cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) { *(cudaStream_t *)handle = stream; return 0; }
API cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *stream) { *stream = *(cudaStream_t *)handle; return 0; }
API cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *out) { return MADE(out); }
API cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t it) { free(it); return 0; }
API cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *out) { return MADE(out); }
API cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t it) { free(it); return 0; }
API cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *out) { return MADE(out); }
API cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t it) { free(it); return 0; }
API cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t *out) { return MADE(out); }
API cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t it) { free(it); return 0; }
API cudnnStatus_t cudnnCreatePoolingDescriptor(cudnnPoolingDescriptor_t *out) { return MADE(out); }
API cudnnStatus_t cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(
    cudnnHandle_t handle, cudnnBatchNormMode_t mode, cudnnBatchNormOps_t ops, const cudnnTensorDescriptor_t x,
    const cudnnTensorDescriptor_t z, const cudnnTensorDescriptor_t y, const cudnnTensorDescriptor_t scale,
    const cudnnActivationDescriptor_t activation, size_t *size) {
    (void)handle, (void)mode, (void)ops, (void)x, (void)z, (void)y, (void)scale, (void)activation;
    *size = 0;
    return 0;
}
API cudnnStatus_t cudnnGetBatchNormalizationBackwardExWorkspaceSize(
    cudnnHandle_t handle, cudnnBatchNormMode_t mode, cudnnBatchNormOps_t ops, const cudnnTensorDescriptor_t x,
    const cudnnTensorDescriptor_t y, const cudnnTensorDescriptor_t dy, const cudnnTensorDescriptor_t dz,
    const cudnnTensorDescriptor_t dx, const cudnnTensorDescriptor_t scale, const cudnnActivationDescriptor_t activation,
    size_t *size) {
    (void)handle, (void)mode, (void)ops, (void)x, (void)y, (void)dy, (void)dz, (void)dx, (void)scale, (void)activation;
    *size = 0;
    return 0;
}
API cudnnStatus_t cudnnGetBatchNormalizationTrainingExReserveSpaceSize(
    cudnnHandle_t handle, cudnnBatchNormMode_t mode, cudnnBatchNormOps_t ops, const cudnnActivationDescriptor_t activation,
    const cudnnTensorDescriptor_t x, size_t *size) {
    (void)handle, (void)mode, (void)ops, (void)activation, (void)x;
    *size = 0;
    return 0;
}

/* Its graphs: any descriptor can be set and finalized; the heuristic knows one engine, whose plan has the workspace. */
API cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out) {
    (void)type;
    return MADE(out);
}
API cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t it) { free(it); return 0; }
API cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t it, cudnnBackendAttributeName_t name,
                                           cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    (void)it, (void)name, (void)type, (void)count, (void)values;
    return 0;
}
API cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t it) { (void)it; return 0; }
API cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    (void)handle, (void)plan, (void)pack;
    return 0;
}
API cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const it, cudnnBackendAttributeName_t name,
                                           cudnnBackendAttributeType_t type, int64_t asked, int64_t *count, void *out) {
    const char *workspace = getenv("FAKE_CUDNN_WORKSPACE");
    int64_t value = 0;
    (void)it;
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: case CUDNN_ATTR_ENGINECFG_ENGINE: case CUDNN_ATTR_ENGINE_GLOBAL_INDEX: break;
    case CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT: value = 1; break;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE: value = workspace ? strtoll(workspace, NULL, 10) : 0; break;
    default: asked = 0;
    }
    if (count) *count = asked > 1 ? 1 : asked;
    if (out && asked && type == CUDNN_TYPE_INT64) memcpy(out, &value, sizeof value);
    return 0;
}

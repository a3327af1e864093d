# LLVM and MLIR, and the two rules every compiler folder needs.
find_package(MLIR REQUIRED CONFIG)
if(NOT LLVM_VERSION_MAJOR EQUAL 22)
  message(FATAL_ERROR "attn needs LLVM/MLIR 22, found ${LLVM_PACKAGE_VERSION} in ${MLIR_DIR}")
endif()
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)

# The targets of LLVM's package for its archives lead back to its shared libraries, so the files are named. The linker takes out
# of them what is used.
set(ATTN_LLVM_LIBRARIES MLIR LLVM)
if(ATTN_STATIC_LLVM)
  file(GLOB ATTN_LLVM_LIBRARIES ${LLVM_LIBRARY_DIR}/libMLIR*.a ${LLVM_LIBRARY_DIR}/libLLVM*.a)
  list(FILTER ATTN_LLVM_LIBRARIES EXCLUDE REGEX "CAPI|Test|Runner|runner")
  find_package(ZLIB REQUIRED)
  list(APPEND ATTN_LLVM_LIBRARIES ZLIB::ZLIB zstd ${CMAKE_DL_LIBS})
endif()

set(ATTN_TABLEGEN ${LLVM_TOOLS_BINARY_DIR}/mlir-tblgen)

# attn_tablegen(<td file> <output> <generator flags>...): adds gen/attn/<folder>/<output> to ATTN_TABLEGEN_OUTPUTS.
function(attn_tablegen source output)
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  set(directory ${CMAKE_BINARY_DIR}/gen/attn/${folder})
  file(MAKE_DIRECTORY ${directory})
  add_custom_command(
    OUTPUT ${directory}/${output}
    COMMAND ${ATTN_TABLEGEN} ${ARGN} -I ${MLIR_INCLUDE_DIRS} -I ${CMAKE_BINARY_DIR}/include
            ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${directory}/${output}
            --write-if-changed -d ${directory}/${output}.d
    DEPENDS ${source}
    DEPFILE ${directory}/${output}.d
    COMMENT "Generating attn/${folder}/${output}")
  set(ATTN_TABLEGEN_OUTPUTS ${ATTN_TABLEGEN_OUTPUTS} ${directory}/${output} PARENT_SCOPE)
endfunction()

# attn_compiler_library(<name> SOURCES... [DEPENDS ...] [LINK ...]): a static library against MLIR and LLVM.
function(attn_compiler_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} SYSTEM PUBLIC ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} ${ATTN_LLVM_LIBRARIES})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

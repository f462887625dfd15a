# Header-only dependencies from their PyPI packages: downloaded by pip, held against a SHA-256, unpacked once.

# wan_fetch_pypi(VARIABLE NAME n VERSION v FILE wheel SHA256 hash SUBDIRECTORY d PIP_OPTIONS options ...)
# Sets VARIABLE to the folder SUBDIRECTORY of the unpacked package. A folder given by -DVARIABLE=... is taken as it is, and a
# wheel in the folder WAN_PYPI_WHEELS instead of a download: for machines without a network.
set(WAN_PYPI_WHEELS "" CACHE PATH "A folder with the wheels that are otherwise downloaded")
function(wan_fetch_pypi VARIABLE)
  cmake_parse_arguments(ARG "" "NAME;VERSION;FILE;SHA256;SUBDIRECTORY" "PIP_OPTIONS" ${ARGN})
  if(${VARIABLE})
    return()
  endif()
  set(folder ${PROJECT_BINARY_DIR}/pypi)
  set(unpacked ${folder}/${ARG_NAME}-${ARG_VERSION})
  if(NOT EXISTS ${unpacked}/${ARG_SUBDIRECTORY})
    set(wheel ${folder}/${ARG_FILE})
    if(WAN_PYPI_WHEELS AND EXISTS ${WAN_PYPI_WHEELS}/${ARG_FILE})
      set(wheel ${WAN_PYPI_WHEELS}/${ARG_FILE})
    elseif(NOT EXISTS ${wheel})
      find_package(Python3 REQUIRED COMPONENTS Interpreter)
      message(STATUS "Fetching ${ARG_NAME} ${ARG_VERSION} from PyPI")
      file(WRITE ${folder}/${ARG_NAME}.txt "${ARG_NAME}==${ARG_VERSION} --hash=sha256:${ARG_SHA256}\n")
      execute_process(
        COMMAND ${Python3_EXECUTABLE} -m pip download --quiet --no-deps --require-hashes --only-binary=:all:
                ${ARG_PIP_OPTIONS} --dest ${folder} --requirement ${folder}/${ARG_NAME}.txt
        RESULT_VARIABLE status ERROR_VARIABLE errors)
      if(NOT status EQUAL 0)
        message(FATAL_ERROR "${ARG_NAME} ${ARG_VERSION} could not be fetched:\n${errors}\nWithout a network, put "
                            "${ARG_FILE} into a folder and give it with -DWAN_PYPI_WHEELS=, or the unpacked headers with "
                            "-D${VARIABLE}=.")
      endif()
    endif()
    file(SHA256 ${wheel} found)
    if(NOT found STREQUAL ARG_SHA256)
      message(FATAL_ERROR "${wheel} has the SHA-256 ${found}, expected ${ARG_SHA256}")
    endif()
    file(ARCHIVE_EXTRACT INPUT ${wheel} DESTINATION ${unpacked})
  endif()
  set(${VARIABLE} ${unpacked}/${ARG_SUBDIRECTORY} PARENT_SCOPE)
endfunction()
